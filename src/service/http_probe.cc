#include "service/http_probe.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <memory>

namespace pgmint::service {
namespace {

constexpr const char* kLibrary = "libcurl.so.4";  // its name since 7.16
constexpr std::size_t kBodyMax = 64 << 10;

/// The functions that are used, from the library that is loaded at the first use.
struct Curl {
  decltype(&::curl_global_init) global_init = nullptr;
  decltype(&::curl_easy_init) easy_init = nullptr;
  decltype(&::curl_easy_setopt) easy_setopt = nullptr;
  decltype(&::curl_easy_perform) easy_perform = nullptr;
  decltype(&::curl_easy_getinfo) easy_getinfo = nullptr;
  decltype(&::curl_easy_cleanup) easy_cleanup = nullptr;
  decltype(&::curl_easy_strerror) easy_strerror = nullptr;
  std::string problem;
};

Curl load_curl() {
  Curl loaded;
  // Never closed: it may leave thread-local state behind.
  void* const library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  const auto find = [&](const char* name) -> void* {
    void* const found = library != nullptr ? ::dlsym(library, name) : nullptr;
    if (found == nullptr && loaded.problem.empty()) {
      const char* reason = ::dlerror();
      loaded.problem = reason != nullptr ? reason : kLibrary;
    }
    return found;
  };
  loaded.global_init = reinterpret_cast<decltype(loaded.global_init)>(find("curl_global_init"));
  loaded.easy_init = reinterpret_cast<decltype(loaded.easy_init)>(find("curl_easy_init"));
  loaded.easy_setopt = reinterpret_cast<decltype(loaded.easy_setopt)>(find("curl_easy_setopt"));
  loaded.easy_perform = reinterpret_cast<decltype(loaded.easy_perform)>(find("curl_easy_perform"));
  loaded.easy_getinfo = reinterpret_cast<decltype(loaded.easy_getinfo)>(find("curl_easy_getinfo"));
  loaded.easy_cleanup = reinterpret_cast<decltype(loaded.easy_cleanup)>(find("curl_easy_cleanup"));
  loaded.easy_strerror = reinterpret_cast<decltype(loaded.easy_strerror)>(find("curl_easy_strerror"));
  if (loaded.problem.empty() && loaded.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) loaded.problem = "it cannot be set up";
  return loaded;
}

const Curl& curl() {
  static const Curl loaded = load_curl();
  return loaded;
}

struct HandleDeleter {
  void operator()(CURL* handle) const { curl().easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, HandleDeleter>;

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
Result<Handle> make_handle(const std::string& url, std::chrono::milliseconds limit, const CancelToken& cancel, std::array<char, CURL_ERROR_SIZE>& error) {
  if (!curl().problem.empty()) return Error(Errc::Configuration, fmt::format("libcurl cannot be loaded: {}", curl().problem), Hint{"install libcurl4"});
  Handle handle(curl().easy_init());
  if (!handle) return Error(Errc::Internal, "libcurl gives no handle");
  const auto set = curl().easy_setopt;
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

Status perform(const Handle& handle, const std::string& what, const CancelToken& cancel, const std::array<char, CURL_ERROR_SIZE>& error) {
  const auto done = curl().easy_perform(handle.get());
  TRY(cancel.check());
  if (done == CURLE_OK) return ok();
  const std::string_view reason = error[0] != '\0' ? error.data() : curl().easy_strerror(done);
  const bool malformed = done == CURLE_URL_MALFORMAT || done == CURLE_UNSUPPORTED_PROTOCOL;
  return Error(malformed ? Errc::Configuration : Errc::Storage, fmt::format("{}: {}", what, reason));
}

}  // namespace

Result<HttpAnswer> http_get(const HttpGet& request, const CancelToken& cancel) {
  std::array<char, CURL_ERROR_SIZE> error{};
  const auto handle = TRY(make_handle(request.url, request.limit, cancel, error));
  HttpAnswer answer;
  const auto set = curl().easy_setopt;
  set(handle.get(), CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_3));
  if (request.ca_file) set(handle.get(), CURLOPT_CAINFO, request.ca_file->c_str());
  set(handle.get(), CURLOPT_USERAGENT, "pgmint/" PGMINT_VERSION);
  set(handle.get(), CURLOPT_WRITEFUNCTION, &take_body);
  set(handle.get(), CURLOPT_WRITEDATA, &answer.body);
  TRY(perform(handle, request.url, cancel, error));
  long status = 0;
  curl().easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
  answer.status = static_cast<unsigned>(status);
  return answer;
}

Status tcp_connect(const std::string& host, unsigned port, std::chrono::milliseconds limit, const CancelToken& cancel) {
  std::array<char, CURL_ERROR_SIZE> error{};
  const bool address = host.find(':') != std::string::npos;
  const auto handle = TRY(make_handle(fmt::format("http://{}{}{}:{}/", address ? "[" : "", host, address ? "]" : "", port), limit, cancel, error));
  curl().easy_setopt(handle.get(), CURLOPT_CONNECT_ONLY, 1L);
  return perform(handle, fmt::format("{}:{}", host, port), cancel, error);
}

}  // namespace pgmint::service
