#include "service/http_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "service/curl_library.h"

namespace pgmint::service {
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

/// What every request has; `error` must live as long as the handle.
Result<CurlHandle> make_handle(const std::string& url, std::chrono::milliseconds limit, const CancelToken& cancel, std::array<char, CURL_ERROR_SIZE>& error) {
  if (!curl().problem.empty()) return Error(Errc::Configuration, fmt::format("libcurl cannot be loaded: {}", curl().problem), Hint{"install libcurl4"});
  CurlHandle handle(curl().curl_easy_init());
  if (!handle) return Error(Errc::Internal, "libcurl gives no handle");
  const auto set = curl().curl_easy_setopt;
  set(handle.get(), CURLOPT_ERRORBUFFER, error.data());
  set(handle.get(), CURLOPT_URL, url.c_str());
  set(handle.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  set(handle.get(), CURLOPT_PROXY, "");  // a check asks the service itself
  set(handle.get(), CURLOPT_NOSIGNAL, 1L);
  set(handle.get(), CURLOPT_TIMEOUT_MS, std::max(1L, static_cast<long>(limit.count())));
  set(handle.get(), CURLOPT_NOPROGRESS, 0L);
  set(handle.get(), CURLOPT_XFERINFOFUNCTION, &ask_to_go_on);
  set(handle.get(), CURLOPT_XFERINFODATA, &cancel);
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
  const auto set = curl().curl_easy_setopt;
  set(handle.get(), CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_3));
  if (request.ca_file) set(handle.get(), CURLOPT_CAINFO, request.ca_file->c_str());
  set(handle.get(), CURLOPT_USERAGENT, "pgmint/" PGMINT_VERSION);
  set(handle.get(), CURLOPT_WRITEFUNCTION, &take_body);
  set(handle.get(), CURLOPT_WRITEDATA, &answer.body);
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
  curl().curl_easy_setopt(handle.get(), CURLOPT_CONNECT_ONLY, 1L);
  return perform(handle, fmt::format("{}:{}", host, port), cancel, error);
}

}  // namespace pgmint::service
