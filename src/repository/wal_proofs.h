// When each WAL segment was last read and found sound, as the log's entries say. Pure: part of the fold. Rules: docs/format/log.md,
// "What has been read". Decision: docs/adr/0019-what-was-proven.md
#pragma once

#include <array>
#include <map>
#include <optional>

#include "repository/pack_proofs.h"
#include "repository/wal_runs.h"

namespace pgmint::repository {

/// What one verification says of WAL that it read. Hashed is what shows without reading records (header, index, summary, size): it
/// proves nothing, and is a depth of damage alone.
struct WalRead {
  ProofDepth depth{};
  bool damaged = false;    ///< what reading it like this found, else it is sound
  TimePoint read{};        ///< when the reading began
  std::uint64_t seen = 0;  ///< so many entries of the log were known then
  std::vector<WalRun> runs;
};

/// What is known of one segment, whatever object stands for it.
struct WalHistory {
  struct Proof {
    std::uint64_t seq = 0;        ///< of the entry that says so; 0: none
    TimePoint read{};             ///< epoch: undated, since clocks contradicted each other
    TimePoint oldest{}, newest{};  ///< when the objects of its run had been written
    /// It is one of the object that was written then, and not of another that has its name now.
    bool is_of(const std::optional<TimePoint>& written) const { return seq != 0 && written && oldest <= *written && *written <= newest; }
    bool operator==(const Proof&) const = default;
  };
  std::array<Proof, kProofDepths> proofs;
  std::optional<PackHistory::Damage> damaged;  ///< and not found sound since at this depth

  /// The entry of the newest proof of at least that depth of the object that was written then; 0: there is none.
  std::uint64_t newest(ProofDepth at_least, const std::optional<TimePoint>& written) const;
  /// The same of any object of this name.
  std::uint64_t newest_of_any(ProofDepth at_least) const;
  /// The latest time that such a proof bears; nullopt: none, or all undated.
  std::optional<TimePoint> read(ProofDepth at_least, const std::optional<TimePoint>& written) const;
  bool operator==(const WalHistory&) const = default;
};

/// Of all WAL. In memory it is as the entries are: few runs, however many segments.
class WalProofs {
 public:
  /// @param seq, time  of the entry that says so
  void note(const WalRead& wal, std::uint64_t seq, TimePoint time);
  /// Another entry has this time: proofs that claim to have been made well after it are undated.
  void note_time(TimePoint time);
  /// What ends at or before `lsn` may go, but for segments that hold a byte of `kept` (from, to; both included).
  void forget_before(const WalIdentity& identity, std::uint32_t timeline, std::uint64_t lsn,
                     const std::vector<std::pair<std::uint64_t, std::uint64_t>>& kept = {});
  /// Of a segment of which no entry speaks: one without anything.
  const WalHistory& of(const WalSegmentId& segment) const;
  /// How many different things are remembered: what memory this takes.
  std::size_t pieces() const;

 private:
  using Pieces = RunPieces<std::uint64_t, WalHistory>;
  std::map<WalPlace, Pieces> places_;
  TimePoint latest_{};  ///< no proof bears a later time
};

}  // namespace pgmint::repository
