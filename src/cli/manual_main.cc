// pgmint_manual DIR: writes the manual pages and the bash completion that are made from the command table. Build time
// only.
#include <fmt/format.h>

#include <cstdio>

#include "base/file.h"
#include "cli/manual.h"

namespace pgmint::cli {
namespace {

Status write(const fs::path& path, const std::string& text) {
  return write_file_durably(path, as_bytes(text), 0644);
}

Status write_manual(const fs::path& directory) {
  TRY(create_directories(directory / "man1", 0755));
  TRY(create_directories(directory / "man5", 0755));
  for (const auto* command : all_commands())
    TRY(write(directory / "man1" / (page_name(*command) + ".1"), man_page(*command)));
  TRY(write(directory / "man1" / "pgmint.1", man_overview()));
  TRY(write(directory / "man5" / "pgmint.toml.5", man_configuration()));
  return write(directory / "pgmint.bash", bash_completion());
}

}  // namespace
}  // namespace pgmint::cli

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: pgmint_manual DIR\n");
    return 2;
  }
  if (auto written = pgmint::cli::write_manual(pgmint::fs::absolute(argv[1])); !written) {
    fmt::print(stderr, "pgmint_manual: {}\n", written.error().describe());
    return 1;
  }
  return 0;
}
