#include "http/client.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <mutex>

#include "http/curl_library.h"

namespace pgmint::http {
namespace {

constexpr long kBuffer = 512L << 10;    ///< the most that libcurl takes
constexpr std::size_t kIdleMax = 64;    ///< connections kept; more are closed after use
constexpr std::size_t kHeadersMax = 64 << 10;

/// One handle with its connection, and the state of the request on it.
struct Exchange {
  CurlHandle easy;
  std::array<char, CURL_ERROR_SIZE> reason{};

  curl_socket_t socket = CURL_SOCKET_BAD;  ///< of the newest connection

  const Request* request = nullptr;
  const CancelToken* cancel = nullptr;
  ByteView unsent{};
  bool sent_any = false;   ///< some of the request may have reached the server
  bool finishing = false;  ///< begun after the cancellation, or to be carried to its end
  Answer answer;
  std::size_t headers_size = 0;
  bool too_long = false;

  void begin(const Request& next, const CancelToken* token) {
    request = &next;
    cancel = token;
    unsent = next.body;
    sent_any = too_long = false;
    finishing = next.to_the_end || (token != nullptr && token->cancelled());
    answer = Answer{};
    headers_size = 0;
    reason[0] = '\0';
  }
  /// A server that writes head and body of its answer apart, with Nagle's algorithm on, sends the body when the head was acknowledged; the
  /// kernel would do that after 40 ms. Not kept by the kernel, so for each answer.
  void acknowledge_at_once() const {
    const int on = 1;
    if (socket != CURL_SOCKET_BAD) ::setsockopt(socket, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
  }
  std::uint64_t answer_max() const {
    return answer.success() && !request->into.empty() ? request->into.size() : request->answer_max;
  }
};

std::size_t give_body(char* out, std::size_t size, std::size_t count, void* exchange) {
  auto& self = *static_cast<Exchange*>(exchange);
  const auto n = std::min(self.unsent.size(), size * count);
  if (n != 0) std::memcpy(out, self.unsent.data(), n);
  self.unsent = self.unsent.subspan(n);
  return n;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::size_t take_header(char* data, std::size_t size, std::size_t count, void* exchange) {
  auto& self = *static_cast<Exchange*>(exchange);
  const std::string_view line(data, size * count);
  self.headers_size += line.size();
  if (self.headers_size > kHeadersMax) {
    self.too_long = true;
    return 0;
  }
  if (line.starts_with("HTTP/")) {  // a new answer: what came before it was a 100
    self.acknowledge_at_once();
    self.answer = Answer{};
    const auto blank = line.find(' ');
    if (blank != std::string_view::npos) std::from_chars(line.data() + blank + 1, line.data() + line.size(), self.answer.status);
    return line.size();
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return line.size();
  std::string name(line.substr(0, colon));
  std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  const auto value = trimmed(line.substr(colon + 1));
  if (name == "content-length" && self.request->method != "HEAD") {
    std::uint64_t length = 0;
    std::from_chars(value.data(), value.data() + value.size(), length);
    if (length > self.answer_max()) {
      self.too_long = true;
      return 0;
    }
    if (self.request->into.empty()) self.answer.body.reserve(length);
  }
  self.answer.headers.push_back({std::move(name), std::string(value)});
  return line.size();
}

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* exchange) {
  auto& self = *static_cast<Exchange*>(exchange);
  const auto got = std::as_bytes(std::span(data, size * count));
  if (got.size() > self.answer_max() - std::min(self.answer_max(), self.answer.size)) {
    self.too_long = true;
    return got.size() == 0 ? 1 : 0;
  }
  if (self.answer.success() && !self.request->into.empty())
    std::memcpy(self.request->into.data() + self.answer.size, got.data(), got.size());
  else
    append(self.answer.body, got);
  self.answer.size += got.size();
  return got.size();
}

int watch(void* exchange, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& self = *static_cast<Exchange*>(exchange);
  return self.cancel != nullptr && self.cancel->cancelled() && !self.finishing ? 1 : 0;
}

/// libcurl asks it once a connection stands, right before the request goes out: again when a kept connection turned out to be dead.
int note_sending(void* exchange, char*, char*, int, int) {
  auto& self = *static_cast<Exchange*>(exchange);
  self.sent_any = true;
  return self.unsent.size() == self.request->body.size() ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

int note_socket(void* exchange, curl_socket_t socket, curlsocktype) {
  static_cast<Exchange*>(exchange)->socket = socket;
  return CURL_SOCKOPT_OK;
}

class CurlClient final : public Client {
 public:
  CurlClient(ClientOptions options, const CancelToken* cancel) : options_(std::move(options)), cancel_(cancel) {}

  Result<Answer> perform(const Request& request) override {
    if (!curl().problem.empty())
      return Error(Errc::Precondition, fmt::format("libcurl cannot be loaded: {}", curl().problem), Hint{"apt-get install libcurl4"});
    auto exchange = take();
    if (!exchange) return Error(Errc::ResourceLimit, "no memory for a request");
    auto answer = perform(*exchange, request);
    // A connection on which something went wrong is not used again.
    if (answer) put_back(std::move(exchange));
    return answer;
  }

 private:
  std::unique_ptr<Exchange> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto last = std::move(idle_.back());
        idle_.pop_back();
        return last;
      }
    }
    auto made = std::make_unique<Exchange>();
    made->easy.reset(curl().curl_easy_init());
    return made->easy ? std::move(made) : nullptr;
  }
  void put_back(std::unique_ptr<Exchange> exchange) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kIdleMax) idle_.push_back(std::move(exchange));
  }

  Result<Answer> perform(Exchange& exchange, const Request& request);
  Status set_up(Exchange& exchange, const Request& request, CurlLines& lines);
  Error failure(const Exchange& exchange, CURLcode code) const;

  const ClientOptions options_;
  const CancelToken* const cancel_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Exchange>> idle_;
};

template <class Value>
Status set(Exchange& exchange, CURLoption option, Value value) {
  const auto code = curl().curl_easy_setopt(exchange.easy.get(), option, value);
  if (code == CURLE_OK) return ok();
  return Error(Errc::Precondition, fmt::format("libcurl does not take option {}: {}", static_cast<int>(option), curl().curl_easy_strerror(code)));
}

Status CurlClient::set_up(Exchange& exchange, const Request& request, CurlLines& lines) {
  curl().curl_easy_reset(exchange.easy.get());  // keeps connections and TLS sessions
  TRY(set(exchange, CURLOPT_URL, request.url.c_str()));
  TRY(set(exchange, CURLOPT_PATH_AS_IS, 1L));
  TRY(set(exchange, CURLOPT_PROTOCOLS_STR, "http,https"));
  TRY(set(exchange, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1)));
  TRY(set(exchange, CURLOPT_FOLLOWLOCATION, 0L));
  TRY(set(exchange, CURLOPT_NOSIGNAL, 1L));
  TRY(set(exchange, CURLOPT_ERRORBUFFER, exchange.reason.data()));
  TRY(set(exchange, CURLOPT_USERAGENT, "pgmint/" PGMINT_VERSION));
  TRY(set(exchange, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_time_max.count())));
  TRY(set(exchange, CURLOPT_LOW_SPEED_LIMIT, 1L));
  TRY(set(exchange, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.stall_time_max.count())));
  if (request.time_max.count() > 0) TRY(set(exchange, CURLOPT_TIMEOUT_MS, static_cast<long>(request.time_max.count())));
  TRY(set(exchange, CURLOPT_TCP_NODELAY, 1L));
  TRY(set(exchange, CURLOPT_SOCKOPTFUNCTION, &note_socket));
  TRY(set(exchange, CURLOPT_SOCKOPTDATA, &exchange));
  TRY(set(exchange, CURLOPT_BUFFERSIZE, kBuffer));
  TRY(set(exchange, CURLOPT_UPLOAD_BUFFERSIZE, kBuffer));
  TRY(set(exchange, CURLOPT_NOPROGRESS, 0L));
  TRY(set(exchange, CURLOPT_XFERINFOFUNCTION, &watch));
  TRY(set(exchange, CURLOPT_XFERINFODATA, &exchange));
  TRY(set(exchange, CURLOPT_PREREQFUNCTION, &note_sending));
  TRY(set(exchange, CURLOPT_PREREQDATA, &exchange));
  TRY(set(exchange, CURLOPT_HEADERFUNCTION, &take_header));
  TRY(set(exchange, CURLOPT_HEADERDATA, &exchange));
  TRY(set(exchange, CURLOPT_WRITEFUNCTION, &take_body));
  TRY(set(exchange, CURLOPT_WRITEDATA, &exchange));
  TRY(set(exchange, CURLOPT_SSLVERSION, static_cast<long>(options_.allow_tls_1_2 ? CURL_SSLVERSION_TLSv1_2 : CURL_SSLVERSION_TLSv1_3)));
  TRY(set(exchange, CURLOPT_SSL_VERIFYPEER, 1L));
  TRY(set(exchange, CURLOPT_SSL_VERIFYHOST, 2L));
  if (!options_.ca_file.empty()) {
    TRY(set(exchange, CURLOPT_CAINFO, options_.ca_file.c_str()));
    TRY(set(exchange, CURLOPT_CAPATH, nullptr));
  }
  if (options_.no_proxy) TRY(set(exchange, CURLOPT_NOPROXY, "*"));
  if (!options_.proxy.empty()) TRY(set(exchange, CURLOPT_PROXY, options_.proxy.c_str()));
  if (request.method == "HEAD") TRY(set(exchange, CURLOPT_NOBODY, 1L));
  if (request.method == "PUT" || request.method == "POST") {
    TRY(set(exchange, CURLOPT_UPLOAD, 1L));
    TRY(set(exchange, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body.size())));
    // There is no way back in the body: when a kept connection turns out to be dead after some of it was sent, libcurl gives up
    // instead of sending all of it again.
    TRY(set(exchange, CURLOPT_READFUNCTION, &give_body));
    TRY(set(exchange, CURLOPT_READDATA, &exchange));
    if (request.body.empty()) TRY(set(exchange, CURLOPT_FRESH_CONNECT, 1L));
    TRY(lines.add("Expect:"));  // no waiting for a 100
  }
  TRY(set(exchange, CURLOPT_CUSTOMREQUEST, request.method.c_str()));
  for (const auto& header : request.headers) TRY(lines.add(header.value.empty() ? header.name + ";" : header.name + ": " + header.value));
  return set(exchange, CURLOPT_HTTPHEADER, lines.get());
}

Result<Answer> CurlClient::perform(Exchange& exchange, const Request& request) {
  exchange.begin(request, cancel_);
  CurlLines lines;
  TRY(set_up(exchange, request, lines));
  const auto code = curl().curl_easy_perform(exchange.easy.get());
  if (code == CURLE_OK) return std::move(exchange.answer);
  if (cancel_ != nullptr && !exchange.finishing) TRY(cancel_->check());
  return failure(exchange, code).with_context(std::string(authority_of(request.url)));
}

Error CurlClient::failure(const Exchange& exchange, CURLcode code) const {
  if (exchange.too_long) return Error(Errc::ResourceLimit, fmt::format("the answer is longer than {} bytes", exchange.answer_max()));
  const std::string reason = exchange.reason[0] != '\0' ? exchange.reason.data() : curl().curl_easy_strerror(code);
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
      return Error(Errc::Configuration, reason, Hint{"name the authority of its certificate in ca_file, and the host as the certificate does"});
    case CURLE_SSL_CACERT_BADFILE: return Error(Errc::Configuration, reason, Hint{"ca_file must hold certificates in PEM"});
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_COULDNT_RESOLVE_PROXY: return Error(Errc::Configuration, reason);
    case CURLE_SSL_CONNECT_ERROR:
      if (!options_.allow_tls_1_2 && reason.find("protocol version") != std::string::npos)
        return Error(Errc::Configuration, reason, Hint{"the server must speak TLS 1.3"});
      break;
    default: break;
  }
  // Whatever comes before the request itself has done nothing.
  if (!exchange.sent_any) return Error(Errc::Storage, reason);
  return Error(Errc::Unknown, reason);
}

bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

}  // namespace

std::optional<std::string_view> Answer::header(std::string_view lower_case_name) const {
  for (const auto& each : headers)
    if (each.name == lower_case_name) return each.value;
  return std::nullopt;
}

std::unique_ptr<Client> make_client(ClientOptions options, const CancelToken* cancel) {
  return std::make_unique<CurlClient>(std::move(options), cancel);
}

std::string percent_encoded(std::string_view text, bool keep_slashes) {
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c) || (c == '/' && keep_slashes))
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string_view authority_of(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  url.remove_prefix(scheme + 3);
  return url.substr(0, url.find_first_of("/?#"));
}

}  // namespace pgmint::http
