#include "logical/client_programs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/child_process.h"

namespace pgmint::logical {
namespace {

constexpr int kMajorMax = 40;
constexpr std::size_t kShown = 2000;
/// What ChildProcess waits for before it reads. With more than an eighth of the pipe the program and its reader wait for each other.
constexpr std::array<const char*, 2> kWideBuffers{"--input=131072", "--output=131072"};

/// "pg_dump (PostgreSQL) 15.14 (Debian ...)" is 15. nullopt: not there, or it does not answer.
std::optional<int> major_of(const fs::path& program, const CancelToken* cancel) {
  if (::access(program.c_str(), X_OK) != 0) return std::nullopt;
  auto child = ChildProcess::start({.arguments = {program.string(), "--version"}, .pipe_output = true, .cancel = cancel});
  if (!child) return std::nullopt;
  ByteArray<256> buffer;
  const auto got = (*child)->read(buffer);
  if (!got || (*child)->wait().value_or(1) != 0) return std::nullopt;
  const auto line = as_text(ByteView(buffer).first(*got));
  const auto at = line.find(") ");
  if (at == std::string_view::npos) return std::nullopt;
  int major = 0;
  const auto number = line.substr(at + 2);
  if (std::from_chars(number.data(), number.data() + number.size(), major).ec != std::errc()) return std::nullopt;
  return major;
}

/// Directories of PATH, in its order.
std::vector<fs::path> in_path() {
  std::vector<fs::path> directories;
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const auto colon = std::min(rest.find(':'), rest.size());
    if (colon > 0) directories.emplace_back(rest.substr(0, colon));
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return directories;
}

/// Empty: there is none, or what it does to a program fails or is complained of. The program is asked for its version by its help.
std::string find_stdbuf(const fs::path& program, const CancelToken* cancel) {
  for (const auto& directory : in_path()) {
    const auto stdbuf = (directory / "stdbuf").string();
    if (::access(stdbuf.c_str(), X_OK) != 0) continue;
    auto child = ChildProcess::start({.arguments = {stdbuf, kWideBuffers[0], kWideBuffers[1], program.string(), "--version"}, .pipe_output = true, .cancel = cancel});
    if (child && (*child)->wait().value_or(1) == 0 && (*child)->errors().empty()) return stdbuf;
  }
  return "";
}

/// @errors as find_client_programs
Result<ClientPrograms> find_programs(const fs::path& configured, int server_major, const CancelToken* cancel) {
  if (!configured.empty()) {
    const auto major = major_of(configured / "pg_dump", cancel);
    if (!major) return Error(Errc::Precondition, fmt::format("{} is not there, or does not run", (configured / "pg_dump").string()), Hint{"see bin_directory in the configuration"});
    if (*major < server_major)
      return Error(Errc::Precondition, fmt::format("{} is of PostgreSQL {}, the server of {}", (configured / "pg_dump").string(), *major, server_major),
                   Hint{"an older pg_dump does not know a newer server: see bin_directory in the configuration"});
    return ClientPrograms{configured, *major, ""};
  }
  for (int major = server_major; major <= kMajorMax; ++major)
    for (const auto& directory : {fmt::format("/usr/lib/postgresql/{}/bin", major), fmt::format("/usr/pgsql-{}/bin", major)})
      if (const auto found = major_of(fs::path(directory) / "pg_dump", cancel); found && *found >= server_major) return ClientPrograms{directory, *found, ""};
  for (const auto& directory : in_path())
    if (const auto found = major_of(directory / "pg_dump", cancel); found && *found >= server_major) return ClientPrograms{directory, *found, ""};
  return Error(Errc::Precondition, fmt::format("there is no pg_dump for a server of PostgreSQL {}", server_major),
               Hint{fmt::format("apt-get install postgresql-client-{}, or name its place: bin_directory in the configuration", server_major)});
}

}  // namespace

std::vector<std::string> ClientPrograms::streaming(std::string_view name) const {
  if (stdbuf.empty()) return {program(name)};
  return {stdbuf, kWideBuffers[0], kWideBuffers[1], program(name)};
}

Result<ClientPrograms> find_client_programs(const fs::path& configured, int server_major, const CancelToken* cancel) {
  auto found = TRY(find_programs(configured, server_major, cancel));
  found.stdbuf = find_stdbuf(found.program("pg_dump"), cancel);
  return found;
}

std::string one_line(std::string text) {
  if (text.size() > kShown) text.erase(0, text.size() - kShown);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string line;
  for (const char c : text) line += c == '\n' ? std::string("; ") : std::string(1, c);
  return line;
}

}  // namespace pgmint::logical
