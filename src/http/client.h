// One request to a web server and its answer, over connections that are kept. TLS 1.3 at least unless told otherwise, certificates always
// verified, no redirects, nothing sent twice.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/cancel.h"
#include "base/file.h"

namespace pgmint::http {

struct Header {
  std::string name;  ///< of answers: lower case
  std::string value;
};

struct Request {
  std::string method = "GET";
  std::string url;  ///< http:// or https://, percent-encoded as it is to be sent
  std::vector<Header> headers;
  ByteView body{};                      ///< borrowed until the answer is there
  std::uint64_t answer_max = 1 << 20;   ///< bytes
  MutableByteView into{};               ///< where the body of a 2xx answer goes instead of Answer::body; a longer one is ResourceLimit
  std::chrono::milliseconds time_max{}; ///< in all; zero: as long as bytes move
  bool to_the_end = false;              ///< a cancellation does not cut it off: its answer names what has to be removed then
};

struct Answer {
  int status = 0;
  std::vector<Header> headers;
  Bytes body;
  std::uint64_t size = 0;  ///< of the body, wherever it went
  std::optional<std::string_view> header(std::string_view lower_case_name) const;
  bool success() const { return status >= 200 && status < 300; }
};

struct ClientOptions {
  fs::path ca_file;   ///< PEM; whoever names an authority trusts no other. Empty: the system's
  std::string proxy;  ///< empty: what the environment says (https_proxy, no_proxy)
  bool no_proxy = false;  ///< whatever the environment says: for services of this very machine
  bool allow_tls_1_2 = false;
  std::chrono::milliseconds connect_time_max = std::chrono::seconds(10);
  std::chrono::seconds stall_time_max = std::chrono::seconds(30);  ///< not one byte in either direction for so long ends a request
};

class Client {
 public:
  virtual ~Client() = default;
  /// Any status is an answer. Thread-safe; each call has a connection to itself, an idle one where there is one.
  /// @errors Storage (certainly not carried out: not resolved, not connected, no TLS), Unknown (sent, perhaps in part, and not answered whole),
  /// Configuration (a certificate or URL that no repetition makes right), ResourceLimit (an answer above answer_max or into.size()), Cancelled.
  /// No message holds more of the URL than its host.
  virtual Result<Answer> perform(const Request& request) = 0;
};

/// Over libcurl. Borrows `cancel`, which may be null: it ends the requests that were begun before it was set, not those that tidy up after it.
std::unique_ptr<Client> make_client(ClientOptions options, const CancelToken* cancel = nullptr);

/// RFC 3986: everything but unreserved characters as %XX, and '/' too unless `keep_slashes`.
std::string percent_encoded(std::string_view text, bool keep_slashes = false);
/// "localhost:17443" of a URL; empty when it has none.
std::string_view authority_of(std::string_view url);

}  // namespace pgmint::http
