// libcurl's functions, from the library that is loaded when they are first needed: it brings some thirty libraries along, which no archive_command
// is to pay for. Nobody links it.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "base/error.h"

namespace pgmint::http {

#define PGMINT_CURL_FUNCTIONS(X) \
  X(curl_easy_cleanup) X(curl_easy_getinfo) X(curl_easy_init) X(curl_easy_perform) X(curl_easy_reset) X(curl_easy_setopt) X(curl_easy_strerror) \
  X(curl_global_init) X(curl_slist_append) X(curl_slist_free_all)

/// Its functions under their own names, or why there are none.
struct CurlLibrary {
#define PGMINT_CURL_MEMBER(name) decltype(&::name) name = nullptr;
  PGMINT_CURL_FUNCTIONS(PGMINT_CURL_MEMBER)
#undef PGMINT_CURL_MEMBER
  std::string problem{};  ///< empty: all are there
};
/// Loaded and set up once. Thread-safe.
const CurlLibrary& curl();

struct CurlHandleDeleter {
  void operator()(CURL* handle) const { curl().curl_easy_cleanup(handle); }
};
using CurlHandle = std::unique_ptr<CURL, CurlHandleDeleter>;

/// Header lines, or recipients; libcurl copies each, and borrows the list.
class CurlLines {
 public:
  CurlLines() = default;
  CurlLines(const CurlLines&) = delete;
  CurlLines& operator=(const CurlLines&) = delete;
  ~CurlLines() { curl().curl_slist_free_all(first_); }
  Status add(const std::string& line) {
    auto* longer = curl().curl_slist_append(first_, line.c_str());
    if (longer == nullptr) return Error(Errc::ResourceLimit, "no memory for a request");
    first_ = longer;
    return ok();
  }
  curl_slist* get() const { return first_; }

 private:
  curl_slist* first_ = nullptr;
};

}  // namespace pgmint::http
