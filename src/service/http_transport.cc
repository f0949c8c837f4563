#include "service/http_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "base/log.h"
#include "service/channel.h"
#include "http/curl_library.h"
#include "service/utf8.h"

namespace pgmint::service {
using http::curl;
using http::CurlHandle;
namespace {

std::size_t drop(char*, std::size_t size, std::size_t count, void*) { return size * count; }

struct Upload {
  std::string_view rest;
};

std::size_t give(char* out, std::size_t size, std::size_t count, void* from) {
  auto& rest = static_cast<Upload*>(from)->rest;
  const auto n = std::min(rest.size(), size * count);
  std::memcpy(out, rest.data(), n);
  rest.remove_prefix(n);
  return n;
}

int is_cancelled(void* token, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return token != nullptr && static_cast<const CancelToken*>(token)->cancelled() ? 1 : 0;
}

/// One libcurl handle with what every request has in common.
class Request {
 public:
  Request() { buffer_.fill('\0'); }

  Status begin(const std::string& url, const fs::path& ca_file, const CancelToken* cancel) {
    if (!curl().problem.empty())
      return Error(Errc::Precondition, fmt::format("libcurl cannot be loaded: {}", curl().problem), Hint{"apt-get install libcurl4"});
    easy_.reset(curl().curl_easy_init());
    if (!easy_) return Error(Errc::ResourceLimit, "no memory for a request");
    cancel_ = cancel;
    const auto to = Destination::parse(url);
    if (!to) return Error(Errc::Precondition, "the URL is malformed");
    host_ = to->host;
    TRY(set(CURLOPT_URL, url.c_str()));
    TRY(set(CURLOPT_PROTOCOLS_STR, to->scheme.c_str()));
    TRY(set(CURLOPT_FOLLOWLOCATION, 0L));
    TRY(set(CURLOPT_NOSIGNAL, 1L));
    TRY(set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::chrono::milliseconds(kAttemptTime).count() / 2)));
    TRY(set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::chrono::milliseconds(kAttemptTime).count())));
    TRY(set(CURLOPT_ERRORBUFFER, buffer_.data()));
    TRY(set(CURLOPT_WRITEFUNCTION, &drop));
    TRY(set(CURLOPT_NOPROGRESS, 0L));
    TRY(set(CURLOPT_XFERINFOFUNCTION, &is_cancelled));
    TRY(set(CURLOPT_XFERINFODATA, cancel));
    TRY(set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_3)));
    TRY(set(CURLOPT_SSL_VERIFYPEER, 1L));
    TRY(set(CURLOPT_SSL_VERIFYHOST, 2L));
    if (!ca_file.empty()) {
      // Of ours alone: whoever names an authority trusts no other.
      TRY(set(CURLOPT_CAINFO, ca_file.c_str()));
      TRY(set(CURLOPT_CAPATH, nullptr));
    }
    if (to->loopback) TRY(set(CURLOPT_PROXY, ""));  // a proxy would take it off this host
    return ok();
  }

  template <class Value>
  Status set(CURLoption option, Value value) {
    const auto code = curl().curl_easy_setopt(easy_.get(), option, value);
    if (code != CURLE_OK) return Error(Errc::Precondition, fmt::format("libcurl does not take option {}: {}", static_cast<int>(option), curl().curl_easy_strerror(code)));
    return ok();
  }

  /// The server's answer. @errors as Transport
  Result<long> perform() {
    const auto code = curl().curl_easy_perform(easy_.get());
    long answer = 0;
    curl().curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &answer);
    if (code == CURLE_OK) return answer;
    if (cancel_ != nullptr) TRY(cancel_->check());
    const std::string reason = shortened(redact(buffer_[0] != '\0' ? buffer_.data() : curl().curl_easy_strerror(code)), 300);
    return Error(is_final(code, answer) ? Errc::Precondition : Errc::Storage, fmt::format("{}: {}", host_, reason), hint_for(code));
  }
  const std::string& host() const { return host_; }

 private:
  static bool is_final(CURLcode code, long answer) {
    switch (code) {
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_CONNECT_ERROR:
      case CURLE_USE_SSL_FAILED:
      case CURLE_LOGIN_DENIED:
      case CURLE_URL_MALFORMAT:
      case CURLE_UNSUPPORTED_PROTOCOL:
        return true;
      default:
        return answer >= 500 && answer < 600;  // SMTP: refused for good
    }
  }
  static Hint hint_for(CURLcode code) {
    switch (code) {
      case CURLE_PEER_FAILED_VERIFICATION: return Hint{"name the authority of its certificate in ca_file, and the host as the certificate does"};
      case CURLE_SSL_CACERT_BADFILE: return Hint{"ca_file must hold certificates in PEM"};
      case CURLE_SSL_CONNECT_ERROR: return Hint{"it must speak TLS 1.3"};
      case CURLE_USE_SSL_FAILED: return Hint{"it must offer STARTTLS, or be smtps://"};
      case CURLE_LOGIN_DENIED: return Hint{"user, and the first line of password_file"};
      default: return Hint{""};
    }
  }

  CurlHandle easy_;
  const CancelToken* cancel_ = nullptr;
  std::string host_;
  std::array<char, CURL_ERROR_SIZE> buffer_;
};

class CurlTransport final : public Transport {
 public:
  Status post(const WebRequest& web, const CancelToken* cancel) override {
    Request request;
    TRY(request.begin(web.url, web.ca_file, cancel));
    http::CurlLines headers;
    for (const auto& line : web.headers) TRY(headers.add(line));
    TRY(headers.add("Expect:"));  // no waiting for a 100
    TRY(request.set(CURLOPT_HTTPHEADER, headers.get()));
    TRY(request.set(CURLOPT_POST, 1L));
    TRY(request.set(CURLOPT_POSTFIELDS, web.body.data()));
    TRY(request.set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(web.body.size())));
    TRY(request.set(CURLOPT_USERAGENT, "pgmint/" PGMINT_VERSION));
    const auto answer = TRY(request.perform());
    if (answer >= 200 && answer < 300) return ok();
    const bool later = answer >= 500 || answer == 429 || answer == 408;
    if (answer >= 300 && answer < 400)
      return Error(Errc::Precondition, fmt::format("{} answered {}: redirects are not followed", request.host(), answer), Hint{"put the address itself into url"});
    return Error(later ? Errc::Storage : Errc::Precondition, fmt::format("{} answered {}", request.host(), answer));
  }

  Status send(const MailRequest& mail, const CancelToken* cancel) override {
    Request request;
    TRY(request.begin(mail.server, mail.ca_file, cancel));
    const auto to = Destination::parse(mail.server);
    const bool has_tls = to->scheme == "smtps" || !to->loopback || !mail.ca_file.empty();
    TRY(request.set(CURLOPT_USE_SSL, static_cast<long>(has_tls ? CURLUSESSL_ALL : CURLUSESSL_NONE)));
    if (!mail.user.empty()) {
      TRY(request.set(CURLOPT_USERNAME, mail.user.c_str()));
      TRY(request.set(CURLOPT_PASSWORD, mail.password.c_str()));
    }
    TRY(request.set(CURLOPT_MAIL_FROM, fmt::format("<{}>", mail.from).c_str()));
    http::CurlLines recipients;
    for (const auto& one : mail.to) TRY(recipients.add(fmt::format("<{}>", one)));
    TRY(request.set(CURLOPT_MAIL_RCPT, recipients.get()));
    Upload upload{mail.mail};
    TRY(request.set(CURLOPT_UPLOAD, 1L));
    TRY(request.set(CURLOPT_READFUNCTION, &give));
    TRY(request.set(CURLOPT_READDATA, &upload));
    TRY(request.set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(mail.mail.size())));
    TRY(request.perform());
    return ok();
  }
};

}  // namespace

std::unique_ptr<Transport> make_curl_transport() { return std::make_unique<CurlTransport>(); }

}  // namespace pgmint::service
