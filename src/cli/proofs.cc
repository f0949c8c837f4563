#include "cli/proofs.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "repository/repository.h"
#include "repository/wal_coverage.h"

namespace pgmint::cli {

repository::EarlierProofs proofs_of(repository::Cluster& cluster, const std::optional<repository::SessionId>& only) {
  const auto now = cluster.repository().environment().clock.now();
  const auto clock = repository::ProofClock::of(now, cluster.store().store_time(), cluster.state());
  return repository::what_is_proven(cluster.state(), only, clock);
}

Result<repository::EarlierWal> wal_proofs_of(repository::Cluster& cluster, postgres::WalSegmentSize size, const std::vector<repository::WalArchive::Listed>& current) {
  const auto now = cluster.repository().environment().clock.now();
  const auto clock = repository::ProofClock::of(now, cluster.store().store_time(), cluster.state());
  repository::EarlierWal proven;
  const auto add = [&](const repository::WalIdentity& identity, postgres::WalSegmentSize size_then, const std::vector<repository::WalArchive::Listed>& files) {
    std::vector<repository::ListedSegment> segments;
    for (const auto& file : files)
      if (const auto id = repository::wal_segment_of(identity, size_then, file.file_name)) segments.push_back({{*id, file.written}, file.stored});
    proven.add(repository::what_wal_is_proven(segments, cluster.state().wal_proofs(), clock));
  };
  const auto identity_now = repository::current_identity(cluster.state());
  add(identity_now, size, current);
  for (const auto& [system_id, incarnation] : cluster.state().identities()) {
    if (system_id == identity_now.system_id && incarnation == identity_now.incarnation) continue;
    repository::WalArchive archive(cluster, {system_id, incarnation});
    std::vector<repository::WalArchive::Listed> files;
    const auto inventory = TRY(repository::load_wal_inventory(archive, std::nullopt, &files));
    add({system_id, incarnation}, inventory.segment_size(), files);
  }
  return proven;
}

std::string ago(TimePoint time) {
  return fmt::format("{} ago", human(std::max(std::chrono::microseconds(0), system_clock().now() - time)));
}

std::string proofs_text(const repository::EarlierProofs& proofs) {
  if (proofs.packs == 0) return "never";
  const auto oldest = fmt::format("the oldest {}", ago(*proofs.oldest));
  if (proofs.unproven_packs == 0) return fmt::format("all of it, {}", oldest);
  return fmt::format("{}, {}; {} never", human(ByteCount(proofs.bytes)), oldest, human(ByteCount(proofs.unproven_bytes)));
}

std::string proofs_text(const std::optional<repository::EarlierWal>& proofs) {
  if (!proofs) return "not known: this key cannot open WAL";
  if (proofs->segments + proofs->unproven_segments == 0) return "none is stored";
  if (proofs->segments == 0) return "never";
  const auto oldest = fmt::format("the oldest {}", ago(*proofs->oldest));
  if (proofs->unproven_segments == 0) return fmt::format("all of it, {}", oldest);
  return fmt::format("{}, {}; {} never", human(ByteCount(proofs->bytes)), oldest, human(ByteCount(proofs->unproven_bytes)));
}

Json proof_time_json(const std::optional<TimePoint>& time) { return time ? Json(format_rfc3339(*time)) : Json(nullptr); }

Json proofs_json(const repository::EarlierProofs& proofs) {
  return {{"packs", proofs.packs},
          {"bytes", proofs.bytes},
          {"oldest", proof_time_json(proofs.oldest)},
          {"newest", proof_time_json(proofs.newest)},
          {"unproven_packs", proofs.unproven_packs},
          {"unproven_bytes", proofs.unproven_bytes},
          {"damaged_packs", proofs.damaged_packs}};
}

Json proofs_json(const std::optional<repository::EarlierWal>& proofs) {
  if (!proofs) return nullptr;
  return {{"segments", proofs->segments},
          {"bytes", proofs->bytes},
          {"oldest", proof_time_json(proofs->oldest)},
          {"newest", proof_time_json(proofs->newest)},
          {"unproven_segments", proofs->unproven_segments},
          {"unproven_bytes", proofs->unproven_bytes},
          {"damaged_segments", proofs->damaged_segments}};
}

Json proof_json(const std::optional<restore::DatedProof>& proof) {
  if (!proof) return nullptr;
  return {{"time", format_rfc3339(proof->time)}, {"backup", proof->proof.backup}, {"server", proof->proof.server}, {"checks", proof->proof.checks}, {"warnings", proof->proof.warnings},
          {"not_made", proof->proof.not_made ? Json(*proof->proof.not_made) : Json(nullptr)}, {"restored", proof_time_json(proof->proof.restored)}};
}

std::string proof_text(const std::optional<restore::DatedProof>& proof) {
  if (!proof) return "never (pgmint validate)";
  // The restore counts, not the day on which somebody looked at it. What an earlier build wrote does not say how much was looked at.
  const auto& what = proof->proof;
  return fmt::format("{}, on {}, {}{}", what.backup, what.server, ago(what.restored.value_or(proof->time)),
                     what.not_made ? fmt::format(" ({} checks, {} not made)", what.checks, *what.not_made) : "");
}

}  // namespace pgmint::cli
