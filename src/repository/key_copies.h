// What this host has read of a repository's keys, so that a store that is far away need not be asked for them by each command.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "repository/ids.h"
#include "storage/forwarding_store.h"

namespace pgmint::repository {

/// Answers for `format`, key slots and key rings from copies, which hold what the store holds: wrapped keys, nothing that opens without a secret. Every
/// change of keys is told by an entry in the log of each cluster behind it (docs/format/keys.md), so whoever has read a log knows whether copies are too old,
/// and must say so with confirm() before it relies on them. Copies are taken only of what was read after the last such entry was known. Everything else is
/// passed on. Keeping fails in silence. Thread-safe.
class KeyCopies final : public storage::ForwardingStore {
 public:
  /// Where keys last changed in a cluster's log.
  struct Change {
    std::uint32_t generation = 0;
    std::uint64_t before = 0;  ///< LogState::keys_changed_before()
    bool operator==(const Change&) const = default;
  };

  /// @param directory  one file for each store, made when needed
  KeyCopies(std::unique_ptr<storage::BlobStore> inner, std::filesystem::path directory);

  /// Something that was asked for since the beginning, or distrust(), did not come from the store.
  bool answered() const;
  /// From here on the store is asked.
  void distrust();
  /// The store is no mirror and never was one, as far as this host knows: a mirror shows it in what is listed of a log (Log::shows_mirror()).
  bool knows_no_mark();
  /// What the store itself says of that.
  void note_no_mark(bool none);
  /// For good: the next run asks the store for everything.
  void forget();
  /// False: keys were changed after what was answered, or nothing is known of this cluster.
  bool confirm(const ClusterId& cluster, Change change);

  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override;
  Result<std::optional<storage::BlobFront>> read_front(const std::string& name, std::size_t length) override { return inner().read_front(name, length); }
  Result<std::optional<storage::BlobFront>> read_front_or_copy(const std::string& name, std::size_t length) override { return inner().read_front_or_copy(name, length); }
  Status remove_all(std::span<const std::string> names) override { return inner().remove_all(names); }
  Result<std::vector<std::string>> remove_unlocked(std::span<const std::string> names) override { return inner().remove_unlocked(names); }
  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const storage::BlobInfo&)>& visit) override;
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override;

 private:
  struct Copies {
    std::map<std::string, Bytes> objects;                    ///< `format`, slots, rings, by name
    std::optional<std::vector<std::string>> slots;           ///< every name below keys/
    std::map<std::string, std::vector<std::string>> rings;   ///< epochs, by the prefix that they stand below
    std::map<ClusterId, Change> confirmed;
    bool no_mark = false;
  };

  void load();
  void save();
  static Bytes encode(const std::map<ClusterId, Change>& known, const Copies& copies);
  Status parse(ByteView data);

  const std::filesystem::path file_;
  mutable std::mutex mutex_;
  std::map<ClusterId, Change> known_;  ///< told before anything of `fresh_` was read
  Copies kept_, fresh_;
  bool trusted_ = false, answered_ = false;
};

}  // namespace pgmint::repository
