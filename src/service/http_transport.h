// libcurl behind an interface: one request to a web server, or one mail to a mail server. TLS 1.3 at least, certificates always verified,
// no redirects. libcurl is loaded when first needed: it brings some thirty libraries along, which no archive_command is to pay for.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/file.h"

namespace pgmint::service {

constexpr auto kAttemptTime = std::chrono::seconds(10);

struct WebRequest {
  std::string url;  ///< as complaint_of() lets it pass
  std::vector<std::string> headers;
  std::string body;
  fs::path ca_file;  ///< empty: the system's
};

struct MailRequest {
  std::string server;
  std::string from;
  std::vector<std::string> to;
  std::string user, password;
  std::string mail;
  fs::path ca_file;
};

class Transport {
 public:
  virtual ~Transport() = default;
  /// A POST that is answered with 2xx. @errors Storage (not reached, or an answer after which another attempt may succeed), Precondition
  /// (refused, or not the server that it should be), Cancelled. No message holds more of a URL than its host, or a password.
  virtual Status post(const WebRequest& request, const CancelToken* cancel) = 0;
  virtual Status send(const MailRequest& request, const CancelToken* cancel) = 0;
};

/// Not thread-safe.
std::unique_ptr<Transport> make_curl_transport();

}  // namespace pgmint::service
