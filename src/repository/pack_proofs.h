// When each pack was last read and found sound, as the log's entries say. Pure: part of the fold. Rules: docs/format/log.md,
// "What has been read". Decision: docs/adr/0019-what-was-proven.md
#pragma once

#include <array>
#include <map>
#include <optional>

#include "base/clock.h"
#include "repository/pack_runs.h"
#include "repository/run_pieces.h"

namespace pgmint::repository {

/// What was done with every byte of a pack; each shows what those before it show.
enum class ProofDepth : std::uint8_t {
  Hashed = 1,     ///< SHA-256 is that of the log
  Opened,         ///< every record opened, in the place where it was referred to
  Decompressed,   ///< also SHA-256, and the plaintext is that of the maps
};
inline constexpr std::size_t kProofDepths = 3;
std::string_view proof_depth_name(ProofDepth depth);  ///< "hashed", "opened", "decompressed"

/// What one verification says of packs that it read.
struct PacksRead {
  ProofDepth depth{};
  bool damaged = false;         ///< what reading them like this found, else they are sound
  TimePoint read{};             ///< when the reading began
  std::uint64_t seen = 0;       ///< so many entries of the log were known then
  std::vector<PackRun> packs;
};

/// What is known of one pack.
struct PackHistory {
  struct Proof {
    std::uint64_t seq = 0;  ///< of the entry that says so; 0: none
    TimePoint read{};       ///< epoch: undated, since clocks contradicted each other
    bool operator==(const Proof&) const = default;
  };
  struct Damage {
    ProofDepth depth{};     ///< the greatest at which it was seen
    std::uint64_t seq = 0;  ///< of the last entry that says so
    bool operator==(const Damage&) const = default;
  };
  std::array<Proof, kProofDepths> proofs;
  std::optional<Damage> damaged;  ///< and not found sound since at this depth

  /// The entry of the newest proof of at least that depth; 0: there is none.
  std::uint64_t newest(ProofDepth at_least) const;
  /// The latest time that such a proof bears; nullopt: none, or all undated.
  std::optional<TimePoint> read(ProofDepth at_least) const;
  bool operator==(const PackHistory&) const = default;
};

/// Of every pack. In memory it is as the entries are: few runs, however many packs.
class PackProofs {
 public:
  /// @param seq, time  of the entry that says so
  void note(const PacksRead& packs, std::uint64_t seq, TimePoint time);
  /// Another entry has this time: proofs that claim to have been made well after it are undated.
  void note_time(TimePoint time);
  void forget(const PackId& pack);
  /// Of a pack of which no entry speaks: one without anything.
  const PackHistory& of(const PackId& pack) const;

 private:
  using Pieces = RunPieces<std::uint32_t, PackHistory>;

  std::map<SessionId, Pieces> pieces_;
  TimePoint latest_{};  ///< no proof bears a later time
};

}  // namespace pgmint::repository
