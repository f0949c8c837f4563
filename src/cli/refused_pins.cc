#include "cli/refused_pins.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/log.h"
#include "crypto/hash.h"

namespace pgmint::cli {
namespace {

constexpr std::uint64_t kMarkMax = 256;

/// Tells two states of a file apart; empty when there is none.
std::string state_of(const fs::path& file) {
  const auto status = stat_if_exists(file);
  if (!status || !*status) return "";
  return fmt::format("{} {} {}.{:09}\n", (*status)->st_ino, (*status)->st_size, (*status)->st_mtim.tv_sec, (*status)->st_mtim.tv_nsec);
}

}  // namespace

fs::path RefusedPins::mark_of(const std::string& token, const fs::path& pin_file) const {
  return directory_ / to_hex(ByteView(crypto::sha256(as_bytes(token + '\n' + pin_file.string()))).first(8));
}

Status RefusedPins::expect_untried(const std::string& token, const fs::path& pin_file) const {
  const auto refused = read_text_file(mark_of(token, pin_file), kMarkMax);
  if (!refused || refused->empty() || *refused != state_of(pin_file)) return ok();
  return Error(Errc::Key, fmt::format("the token has refused the PIN of {}, and is not asked again", pin_file.string()),
               Hint{fmt::format("put the right PIN there; was it the token that was wrong: touch {}, and it is tried once more", pin_file.string())});
}

void RefusedPins::note(const std::string& token, const fs::path& pin_file) const {
  auto noted = create_directories(directory_, 0700);
  if (noted) noted = write_file_durably(mark_of(token, pin_file), as_bytes(state_of(pin_file)), 0600);
  if (!noted) log_warning("that the token has refused this PIN cannot be noted, so that the next command tries it again: {}", noted.error().describe());
}

}  // namespace pgmint::cli
