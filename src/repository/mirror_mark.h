// What makes a store a mirror, and says of which moment: its mark. Format: docs/format/mirror.md. Decision: docs/adr/0030-mirrors.md
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/clock.h"
#include "crypto/hash.h"
#include "repository/ids.h"
#include "repository/log_bounds.h"
#include "storage/blob_store.h"

namespace pgmint::repository {

using MirrorId = Id128<struct MirrorIdTag>;

enum class MirrorState : std::uint8_t { Mirror = 1, Promoted = 2 };

/// How much of one generation of a log was copied.
struct MirroredLog {
  std::uint64_t entries = 0;
  crypto::Digest last{};  ///< SHA-256 of the last of them, which names the one before, and so on down
  bool operator==(const MirroredLog&) const = default;
};

struct MirroredCluster {
  TimePoint as_of{};  ///< everything that its source held then is here
  std::map<std::uint32_t, MirroredLog> logs;  ///< by generation
  std::uint32_t opened = 0;  ///< the generation that a promotion has opened; 0: none
};

/// The newest one counts. Readers of a mirror see of a log what it says and no more, so that a copy that was cut off shows nothing half.
struct MirrorMark {
  std::uint64_t number = 0;
  MirrorId mirror{};
  MirrorState state = MirrorState::Mirror;
  bool one_writer = false;          ///< the store has no create-if-absent: it cannot be promoted
  std::string source;               ///< for people
  std::string made_by;              ///< user@host of the run that wrote it
  TimePoint made{};                 ///< when the mirror was begun
  TimePoint written{};              ///< this mark
  std::map<ClusterId, MirroredCluster> clusters;
  std::set<ClusterId> left_out;     ///< promoted: clusters that were not copied whole, and do not count

  /// The moment that all of it shows: that of its oldest part. Of a mirror that was only begun: none.
  std::optional<TimePoint> as_of() const;
  /// nullopt: nothing of that cluster counts.
  std::optional<LogBounds> bounds_of(const ClusterId& cluster) const;
};

/// @param repository_mac_key  of a promoted one: authenticates it. nullptr: it bears a plain hash, which whoever has no key can make
Bytes encode_mark(const MirrorMark& mark, const RepositoryId& repository, const crypto::Key256* repository_mac_key);
/// What a promotion wrote is authentic only after mark_is_authentic(). @errors Corruption, Precondition (a newer pgmint wrote it)
Result<MirrorMark> parse_mark(ByteView object, std::uint64_t number, const RepositoryId& repository);

struct StoredMark {
  MirrorMark mark;
  Bytes object;
};
/// The newest; nullopt: the store is no mirror and never was one. @errors as parse_mark(), Storage
Result<std::optional<StoredMark>> newest_mark(storage::BlobStore& store, const RepositoryId& repository);
bool mark_is_authentic(const StoredMark& mark, const crypto::Key256& repository_mac_key);

/// "this is a mirror of ..., ...": whoever wants to write there.
Error mirror_refusal(const MirrorMark& mark, const std::string& place);

}  // namespace pgmint::repository
