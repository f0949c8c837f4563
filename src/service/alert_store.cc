#include "service/alert_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "crypto/hash.h"

namespace pgmint::service {
namespace {

constexpr std::uint64_t kBookMax = 16 << 20;
constexpr std::string_view kFile = "alerts.json";
constexpr std::string_view kLock = "alerts.lock";

}  // namespace

/// A directory of our own in it, by which nobody else can tell us what was told. nullopt: there is none.
std::optional<fs::path> AlertStore::refuge(const fs::path& base, bool make) const {
  const auto digest = crypto::sha256(as_bytes(state_.string()));
  const auto path = base / fmt::format("pgmint-alerts-{}-{:02x}{:02x}{:02x}{:02x}", ::geteuid(), std::to_integer<unsigned>(digest[0]),
                                       std::to_integer<unsigned>(digest[1]), std::to_integer<unsigned>(digest[2]), std::to_integer<unsigned>(digest[3]));
  // Whoever asks is its owner, root too: it is the name that keeps them apart.
  if (make && ::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return std::nullopt;
  const auto status = stat_if_exists(path);
  if (!status || !*status) return std::nullopt;
  const auto& found = **status;
  if (!S_ISDIR(found.st_mode) || found.st_uid != ::geteuid() || (found.st_mode & 0077U) != 0) return std::nullopt;
  return path;
}

AlertBook AlertStore::load(std::vector<std::string>* unreadable) const {
  std::vector<fs::path> files = {state_ / kFile};
  for (const auto& base : refuges_)
    if (const auto path = refuge(base, false)) files.push_back(*path / kFile);
  AlertBook newest;
  for (const auto& file : files) {
    const auto text = read_text_file(file, kBookMax);
    const auto name = [&](const std::string& why) {
      if (unreadable != nullptr) unreadable->push_back(why);
    };
    if (!text) {
      if (text.error().code() != Errc::NotFound) name(text.error().describe());
      continue;
    }
    auto book = AlertBook::parse(*text);
    if (!book) name(fmt::format("{} is damaged", file.string()));
    if (book && book->saved() >= newest.saved()) newest = std::move(*book);
  }
  return newest;
}

AlertStore::Kept AlertStore::save(const AlertBook& book, std::string* why) const {
  const auto text = book.text();
  auto written = create_directories(state_, 0700);
  if (written) written = write_file_durably(state_ / kFile, as_bytes(text), 0600);
  if (written) {
    for (const auto& base : refuges_)
      if (const auto path = refuge(base, false)) {
        // What is left there is older than what was written now, and load() knows.
        std::error_code ignored;
        fs::remove_all(*path, ignored);
      }
    return Kept::State;
  }
  if (why != nullptr) *why = written.error().describe();
  for (const auto& base : refuges_)
    if (const auto path = refuge(base, true); path && write_file_durably(*path / kFile, as_bytes(text), 0600)) return Kept::Refuge;
  return Kept::Nowhere;
}

Result<std::optional<Fd>> AlertStore::lock() const {
  // The file stays: whoever removed it could let in two.
  auto made = create_directories(state_, 0700);
  auto fd = made ? open_file(state_ / kLock, O_RDWR | O_CREAT | O_NOFOLLOW, 0600) : Result<Fd>(made.error());
  if (!fd) {
    log_warning("two alert checks at a time may tell twice, since nothing can be locked: {}", fd.error().describe());
    return std::optional<Fd>(Fd());
  }
  if (::flock(fd->get(), LOCK_EX | LOCK_NB) == 0) return std::optional<Fd>(std::move(*fd));
  if (errno == EWOULDBLOCK) return std::optional<Fd>();
  return errno_error(errno, fmt::format("lock {}", (state_ / kLock).string()));
}

bool may_tell_without_memory(TimePoint now) {
  const auto minutes = std::chrono::floor<std::chrono::minutes>(now).time_since_epoch().count();
  return minutes % 240 < 15;
}

}  // namespace pgmint::service
