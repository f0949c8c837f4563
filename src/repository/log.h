// A cluster's log in a store: reading it forward, and appending with compare-and-create. Protocol: docs/format/log.md.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "repository/layout.h"
#include "repository/log_bounds.h"
#include "repository/log_state.h"
#include "storage/blob_store.h"

namespace pgmint::repository {

/// Remembers, outside the repository, the highest entry seen of each cluster, so that a store that goes back in time is
/// noticed. Thread-safe.
class SeenMemory {
 public:
  virtual ~SeenMemory() = default;
  struct Head { std::uint32_t generation = 0; std::uint64_t seq = 0; crypto::Digest hash{}; };
  virtual Result<std::optional<Head>> load(const RepositoryId& repository, const ClusterId& cluster) = 0;
  virtual Status store(const RepositoryId& repository, const ClusterId& cluster, const Head& head) = 0;
  /// Those of which it remembers something. @errors Io
  virtual Result<std::vector<ClusterId>> clusters(const RepositoryId&) { return std::vector<ClusterId>(); }
};
/// One small file per cluster below `directory` (created when needed, 0700).
std::unique_ptr<SeenMemory> make_seen_memory(std::filesystem::path directory);
/// Forgets; for tests and `--from-manifest`.
std::unique_ptr<SeenMemory> make_no_memory();

/// Who writes, and what stands in each entry about it.
struct Actor {
  const crypto::SigningKey* key = nullptr;
  std::string label;    ///< user@host
  std::string command;  ///< "backup main --type full"
};

/// Where a log was read to.
struct LogEnd {
  std::uint32_t generation = 0;
  std::uint64_t next_seq = 0;
  crypto::Digest head{};  ///< hash of the last object
  static LogEnd of(const LogState& state) { return {state.generation(), state.next_seq(), state.head()}; }
};
/// Without reading it again: the log ends there still. False when nothing stands there, or more has come.
/// @param far  ask with one listing, as Environment::reads_at_once means it; then also false when another entry stands there
Result<bool> log_ends_at(storage::BlobStore& store, const ClusterId& cluster, const LogEnd& end, bool far);

/// Not thread-safe. Borrows everything it is given.
class Log {
 public:
  struct Dependencies {
    storage::BlobStore& store;
    RecordContext context;
    const crypto::Key256& maintenance_key;
    crypto::PublicKey format_root;
    Clock& clock;
    RandomSource& random;
    SeenMemory& seen;
    unsigned reads_at_once = 1;  ///< as in Environment
    std::optional<LogBounds> bounds = {};  ///< of a mirror, and of what was one
    /// What the log is remembered as in `seen`; nullopt: the repository's. A mirror lags behind its source, which a host may know as well.
    std::optional<RepositoryId> seen_as = {};
  };
  explicit Log(Dependencies dependencies);

  /// Folds everything new. Entries that are void are kept in state().void_entries().
  /// @errors Corruption (a gap, an empty log beside other objects, a head behind or different from what was seen before),
  ///         Precondition (written by a newer pgmint), Storage, Key
  Status refresh();
  const LogState& state() const { return state_; }

  /// A listing of it has shown that the store is a mirror, or was one. Only where the store is far away.
  bool shows_mirror() const { return shows_mirror_; }

  /// What was read, for another Log of the same cluster in this process: it goes on from there.
  struct Position {
    LogState origin, state;
    std::uint32_t next_generation = 0;
    std::optional<SeenMemory::Head> seen;
  };
  /// nullopt: nothing was read. Leaves this one as if new.
  std::optional<Position> take_position();
  void resume(Position position);

  /// Creates entry 0 of generation 0. @errors Precondition (the log exists), Storage
  Status create(const Actor& actor, GenesisEntry genesis);
  /// Validates against the fold, creates exactly the next slot; on a lost race folds, validates again, and tries the next.
  /// `rebuild` (optional) makes the content anew from the newer state; without it the same content is tried.
  /// @errors Precondition (a rule forbids it now), Busy (64 races lost), Storage, Unknown (could not be read back), Key
  Result<std::uint64_t> append(const Actor& actor, EntryContent content);
  Result<std::uint64_t> append(const Actor& actor, const std::function<Result<EntryContent>(const LogState&)>& make);

  /// Reads the newest generation again from its beginning and calls `visit` for every slot in order: the entry, or why it is
  /// void. @errors as refresh, and what `visit` returns
  Status for_each(const std::function<Status(std::uint64_t seq, const Result<LogEntry>& entry)>& visit);
  /// What can still be read of a log that refresh() may refuse: the fold up to where it breaks, and what stands behind.
  struct Salvage {
    LogState state;
    /// Entries behind the break, in order: sealed and signed by an enrolled actor, but no chain vouches for what is missing.
    std::vector<LogEntry> later;
    crypto::Digest last_object{};  ///< hash of the last object of the generation, zero when there is none
    std::map<std::uint32_t, std::uint64_t> objects;  ///< by generation, to see whether somebody has written meanwhile
  };
  /// @errors Storage, Key
  Result<Salvage> salvage();
  /// Opens generation + 1 with `genesis` made from what stands in the store. @errors Storage, Key, Precondition
  Status open_generation(const Actor& actor, GenesisEntry genesis);

 private:
  /// What stands in the store: the newest valid generation, as far as it can be read.
  struct Survey {
    LogState origin;                     ///< before its first entry
    LogState state;
    Status health = ok();                ///< why reading could not go on
    std::uint32_t next_generation = 0;   ///< above every generation that has an object
    std::set<crypto::PublicKey> roots;   ///< who may open it
  };
  enum class Put { Ours, Theirs };

  Result<Survey> survey();
  Status check_empty();
  Status fold(LogState& state);
  /// Slots of one generation that a listing showed, one after the other.
  struct Run {
    std::uint64_t begin = 0, end = 0;
    bool broken = false;  ///< the listing shows others behind a hole
  };
  /// One request for many entries is worth more than one for each, and none that can be done without.
  bool is_far() const { return d_.reads_at_once > 1; }
  Result<std::map<std::uint32_t, Run>> list_runs(const std::string& after);
  Result<std::map<std::uint32_t, Run>> generations();
  Status fold_run(LogState& state, const Run& run);
  Result<bool> read_on();
  Status refresh_now();
  Result<std::uint64_t> listed_ahead(const LogState& state);
  Result<std::vector<std::optional<Bytes>>> read_slots(std::uint32_t generation, std::uint64_t first, std::size_t count);
  Result<Result<LogEntry>> take(LogState& state, ByteView object);
  Status check_no_gap(const LogState& state, bool& more);
  Result<LogEntry> read_loose(ByteView object, const LogSlot& slot, const std::set<crypto::PublicKey>& actors);
  Result<std::optional<Bytes>> read_slot(std::uint32_t generation, std::uint64_t seq);
  Result<std::optional<Bytes>> read_back(const std::string& name, bool exists);
  Result<Put> put(const std::string& name, ByteView object, const ByteArray<16>& attempt);
  Result<bool> superseded();
  Status remember();
  std::uint64_t end_of(std::uint32_t generation) const;
  const RepositoryId& seen_as() const { return d_.seen_as ? *d_.seen_as : d_.context.repository; }
  std::string entry_name(std::uint32_t generation, std::uint64_t seq) const;
  std::string log_generation_prefix(std::uint32_t generation) const;
  Result<Bytes> make_content(const Actor& actor, const std::function<Result<EntryContent>(const LogState&)>& make, LogEntry& entry);
  Result<Bytes> make_object(const Actor& actor, const LogState& state, EntryContent content, LogEntry& entry);
  Error damage(std::string what) const;

  Dependencies d_;
  LogState origin_;
  LogState state_;
  std::uint32_t next_generation_ = 0;
  bool opened_ = false;
  bool shows_mirror_ = false;
  std::optional<SeenMemory::Head> seen_;  ///< the highest of this and earlier runs
};

}  // namespace pgmint::repository
