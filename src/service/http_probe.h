// One look over HTTP or TCP, for checks: libcurl stays in the .cc, and is loaded when it is first used, so that no other command pays for it.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/cancel.h"

namespace pgmint::service {

struct HttpGet {
  std::string url;                      ///< http:// or https://, TLS 1.3 at least
  std::optional<std::string> ca_file{};  ///< certificates to trust, in PEM; absent: the system's
  std::chrono::milliseconds limit{5000};
};
struct HttpAnswer {
  unsigned status = 0;
  std::string body;  ///< the first 64 KiB
};
/// Follows no redirection. @errors Storage (not reached, not trusted, in time), Configuration (no URL, no libcurl), Cancelled
Result<HttpAnswer> http_get(const HttpGet& request, const CancelToken& cancel);

/// Whether somebody accepts a connection there. @errors as above
Status tcp_connect(const std::string& host, unsigned port, std::chrono::milliseconds limit, const CancelToken& cancel);

}  // namespace pgmint::service
