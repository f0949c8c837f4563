#include "service/http_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "http/curl_library.h"

namespace pgmint::service {
using http::curl;
using http::CurlHandle;
namespace {

constexpr std::size_t kBodyMax = 64 << 10;

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* target) {
  auto& body = *static_cast<std::string*>(target);
  const auto got = size * count;
  body.append(data, std::min(got, kBodyMax - std::min(kBodyMax, body.size())));
  return got;
}

/// Called about once a second: nonzero ends the transfer.
int ask_to_go_on(void* token, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const CancelToken*>(token)->cancelled() ? 1 : 0;
}

/// An option that is not taken would leave something other than what was asked for.
template <class Value>
Status set_option(const CurlHandle& handle, CURLoption option, Value value) {
  const auto code = curl().curl_easy_setopt(handle.get(), option, value);
  if (code == CURLE_OK) return ok();
  return Error(Errc::Internal, fmt::format("libcurl does not take option {}: {}", static_cast<int>(option), curl().curl_easy_strerror(code)));
}

/// What every request has; `error` must live as long as the handle.
Result<CurlHandle> make_handle(const std::string& url, std::chrono::milliseconds limit, const CancelToken& cancel, std::array<char, CURL_ERROR_SIZE>& error) {
  if (!curl().problem.empty()) return Error(Errc::Configuration, fmt::format("libcurl cannot be loaded: {}", curl().problem), Hint{"install libcurl4"});
  CurlHandle handle(curl().curl_easy_init());
  if (!handle) return Error(Errc::Internal, "libcurl gives no handle");
  TRY(set_option(handle, CURLOPT_ERRORBUFFER, error.data()));
  TRY(set_option(handle, CURLOPT_URL, url.c_str()));
  TRY(set_option(handle, CURLOPT_PROTOCOLS_STR, "http,https"));
  TRY(set_option(handle, CURLOPT_PROXY, ""));  // a check asks the service itself
  TRY(set_option(handle, CURLOPT_NOSIGNAL, 1L));
  TRY(set_option(handle, CURLOPT_TIMEOUT_MS, std::max(1L, static_cast<long>(limit.count()))));
  TRY(set_option(handle, CURLOPT_NOPROGRESS, 0L));
  TRY(set_option(handle, CURLOPT_XFERINFOFUNCTION, &ask_to_go_on));
  TRY(set_option(handle, CURLOPT_XFERINFODATA, &cancel));
  return handle;
}

Status perform(const CurlHandle& handle, const std::string& what, const CancelToken& cancel, const std::array<char, CURL_ERROR_SIZE>& error) {
  const auto done = curl().curl_easy_perform(handle.get());
  TRY(cancel.check());
  if (done == CURLE_OK) return ok();
  const std::string_view reason = error[0] != '\0' ? error.data() : curl().curl_easy_strerror(done);
  const bool malformed = done == CURLE_URL_MALFORMAT || done == CURLE_UNSUPPORTED_PROTOCOL;
  return Error(malformed ? Errc::Configuration : Errc::Storage, fmt::format("{}: {}", what, reason));
}

}  // namespace

Result<HttpAnswer> http_get(const HttpGet& request, const CancelToken& cancel) {
  std::array<char, CURL_ERROR_SIZE> error{};
  const auto handle = TRY(make_handle(request.url, request.limit, cancel, error));
  HttpAnswer answer;
  TRY(set_option(handle, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_3)));
  if (request.ca_file) {
    // Whoever names an authority trusts no other.
    TRY(set_option(handle, CURLOPT_CAINFO, request.ca_file->c_str()));
    TRY(set_option(handle, CURLOPT_CAPATH, nullptr));
  }
  TRY(set_option(handle, CURLOPT_USERAGENT, "pgmint/" PGMINT_VERSION));
  TRY(set_option(handle, CURLOPT_WRITEFUNCTION, &take_body));
  TRY(set_option(handle, CURLOPT_WRITEDATA, &answer.body));
  TRY(perform(handle, request.url, cancel, error));
  long status = 0;
  curl().curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
  answer.status = static_cast<unsigned>(status);
  return answer;
}

Status tcp_connect(const std::string& host, unsigned port, std::chrono::milliseconds limit, const CancelToken& cancel) {
  std::array<char, CURL_ERROR_SIZE> error{};
  const bool address = host.find(':') != std::string::npos;
  const auto handle = TRY(make_handle(fmt::format("http://{}{}{}:{}/", address ? "[" : "", host, address ? "]" : "", port), limit, cancel, error));
  TRY(set_option(handle, CURLOPT_CONNECT_ONLY, 1L));
  return perform(handle, fmt::format("{}:{}", host, port), cancel, error);
}

}  // namespace pgmint::service
