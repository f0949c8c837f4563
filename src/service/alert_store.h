// The alert book between two looks: in the state directory, or, where that cannot be written, in a refuge that lasts at least a while.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "service/alert_book.h"

namespace pgmint::service {

class AlertStore {
 public:
  /// @param refuges  existing directories that anybody may write to, such as /dev/shm and /tmp, the best first
  AlertStore(fs::path state_directory, std::vector<fs::path> refuges) : state_(std::move(state_directory)), refuges_(std::move(refuges)) {}
  static std::vector<fs::path> usual_refuges() { return {"/dev/shm", "/tmp"}; }

  /// The newest that can be read; an empty one where there is none. `unreadable` says which files are there and hold no book, or cannot be read.
  AlertBook load(std::vector<std::string>* unreadable = nullptr) const;

  enum class Kept { State, Refuge, Nowhere };
  /// @param why  set to the failure of the state directory when it was not that
  Kept save(const AlertBook& book, std::string* why = nullptr) const;

  /// Of two looks at the same time one would tell what the other told. nullopt: somebody else looks; without a file to lock
  /// (the state directory cannot be written) an Fd that is not valid.
  Result<std::optional<Fd>> lock() const;

 private:
  std::optional<fs::path> refuge(const fs::path& base, bool make) const;
  fs::path state_;
  std::vector<fs::path> refuges_;
};

/// Where nothing can be remembered, a message goes out only in the first quarter of every fourth hour: what each look finds looks new.
bool may_tell_without_memory(TimePoint now);

}  // namespace pgmint::service
