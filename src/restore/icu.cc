#include "restore/icu.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "base/child_process.h"

namespace pgmint::restore {
namespace {

constexpr std::size_t kTraceMax = 1 << 20;
constexpr std::size_t kVersionTextMax = 32;  ///< U_MAX_VERSION_STRING_LENGTH is 20
/// The libraries in the order in which they need each other, so that each finds those before it whatever the paths.
constexpr std::array<std::string_view, 3> kLibraries = {"libicudata.so.", "libicuuc.so.", "libicui18n.so."};

/// How the loader would load that program, without running it. As ldd does.
std::optional<std::string> trace(const fs::path& program) {
  // Of a script that runs the program the loader would tell what its shell needs.
  constexpr std::array kElf = {std::byte{0x7f}, std::byte{'E'}, std::byte{'L'}, std::byte{'F'}};
  std::array<std::byte, kElf.size()> begins{};
  const auto file = open_file(program, O_RDONLY);
  if (!file || ::read(file->get(), begins.data(), begins.size()) != static_cast<ssize_t>(begins.size()) || begins != kElf) return std::nullopt;
  auto child = ChildProcess::start({.arguments = {program.string()}, .environment = {{"LD_TRACE_LOADED_OBJECTS", "1"}}, .pipe_output = true});
  if (!child) return std::nullopt;
  std::string text;
  std::array<std::byte, 4096> buffer{};
  for (;;) {
    const auto got = (*child)->read(buffer);
    if (!got || text.size() > kTraceMax) return std::nullopt;
    if (*got == 0) break;
    text += as_text(ByteView(buffer).first(*got));
  }
  if ((*child)->wait().value_or(1) != 0) return std::nullopt;
  return text;
}

}  // namespace

std::optional<IcuLibraries> icu_libraries(std::string_view traced) {
  // A program that is linked dynamically has the C library; another kind of text says nothing of ICU.
  if (traced.find("libc.so.") == std::string_view::npos) return std::nullopt;
  IcuLibraries found;
  for (const auto library : kLibraries) {
    const auto at = traced.find(library);
    if (at == std::string_view::npos) continue;
    const auto line = traced.substr(at, traced.find('\n', at) - at);  // "libicuuc.so.72 => /usr/lib/libicuuc.so.72 (0x00007f...)"
    const auto arrow = line.find(" => /"), address = line.rfind(" (0x");
    if (arrow == std::string_view::npos || address == std::string_view::npos || address < arrow + 4) return std::nullopt;
    const auto major = line.substr(library.size(), arrow - library.size());
    if (major.empty() || major.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    found.paths.emplace_back(line.substr(arrow + 4, address - arrow - 4));
    found.suffix = fmt::format("_{}", major);
  }
  if (!found.paths.empty() && found.paths.size() != kLibraries.size()) return std::nullopt;
  return found;
}

std::optional<std::string> icu_version_of(const fs::path& postgres) {
  const auto traced = trace(postgres);
  const auto libraries = traced ? icu_libraries(*traced) : std::nullopt;
  if (!libraries) return std::nullopt;
  if (libraries->paths.empty()) return "";
  // Never closed: a process asks once.
  std::array<void*, kLibraries.size()> loaded{};
  for (std::size_t i = 0; i < loaded.size(); ++i)
    if (loaded[i] = ::dlopen(libraries->paths[i].c_str(), RTLD_NOW | RTLD_LOCAL); loaded[i] == nullptr) return std::nullopt;
  // ICU's functions carry its version in their names, and their shapes have not changed since it had C functions (unicode/ucol.h).
  using Open = void* (*)(const char*, std::int32_t*);
  using GetVersion = void (*)(const void*, std::uint8_t*);
  using Close = void (*)(void*);
  using ToText = void (*)(const std::uint8_t*, char*);
  const auto find = [&](std::string_view name) { return ::dlsym(loaded.back(), (std::string(name) + libraries->suffix).c_str()); };  // it and what it needs
  const auto open = reinterpret_cast<Open>(find("ucol_open"));
  const auto get_version = reinterpret_cast<GetVersion>(find("ucol_getVersion"));
  const auto close = reinterpret_cast<Close>(find("ucol_close"));
  const auto to_text = reinterpret_cast<ToText>(find("u_versionToString"));
  if (open == nullptr || get_version == nullptr || close == nullptr || to_text == nullptr) return std::nullopt;
  std::int32_t status = 0;
  void* const collator = open("", &status);  // root, which PostgreSQL calls "und"
  if (collator == nullptr || status > 0) return std::nullopt;
  std::array<std::uint8_t, 4> version{};
  get_version(collator, version.data());
  close(collator);
  // By its own function, as PostgreSQL does: of 104 older ones make "14".
  std::array<char, kVersionTextMax> text{};
  to_text(version.data(), text.data());
  return std::string(text.data());
}

}  // namespace pgmint::restore
