#include "http/curl_library.h"

#include <dlfcn.h>

namespace pgmint::http {
namespace {

CurlLibrary load() {
  constexpr const char* kLibrary = "libcurl.so.4";  // its name since 2006
  CurlLibrary loaded;
  // Never closed: it leaves thread-local state and exit handlers behind.
  void* const library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  const auto find = [&](const char* name) -> void* {
    void* const found = library != nullptr ? ::dlsym(library, name) : nullptr;
    if (found == nullptr && loaded.problem.empty()) {
      const char* reason = ::dlerror();
      loaded.problem = reason != nullptr ? reason : kLibrary;
    }
    return found;
  };
#define PGMINT_CURL_LOAD(name) loaded.name = reinterpret_cast<decltype(loaded.name)>(find(#name));
  PGMINT_CURL_FUNCTIONS(PGMINT_CURL_LOAD)
#undef PGMINT_CURL_LOAD
  if (loaded.problem.empty() && loaded.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) loaded.problem = "libcurl cannot be set up";
  return loaded;
}

}  // namespace

const CurlLibrary& curl() {
  static const CurlLibrary loaded = load();
  return loaded;
}

}  // namespace pgmint::http
