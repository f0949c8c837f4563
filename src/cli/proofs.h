// What is known of packs without reading them now, told: for verify, status and show.
#pragma once

#include <string>

#include "cli/output.h"
#include "repository/wal_archive.h"
#include "repository/wal_choice.h"
#include "restore/measured.h"

namespace pgmint::repository {
class Cluster;
}

namespace pgmint::cli {

/// Of every pack that a live backup refers to, or this one.
repository::EarlierProofs proofs_of(repository::Cluster& cluster, const std::optional<repository::SessionId>& only = {});

/// Of all WAL of every identity that the cluster has had. @param current  the listing of its present one, of which `size` is the segments'.
/// @errors Storage, Key, Corruption
Result<repository::EarlierWal> wal_proofs_of(repository::Cluster& cluster, postgres::WalSegmentSize size, const std::vector<repository::WalArchive::Listed>& current);

/// "all of it, the oldest 6 d 03 h ago", "3.1 GiB, the oldest 6 d 03 h ago; 160 MiB never", "never"
std::string proofs_text(const repository::EarlierProofs& proofs);
/// The same of WAL; also "none is stored", and "not known" to a key that cannot open it.
std::string proofs_text(const std::optional<repository::EarlierWal>& proofs);
/// VERIFIED of tests/integration/README.md.
Json proofs_json(const repository::EarlierProofs& proofs);
/// WAL_VERIFIED there, or null.
Json proofs_json(const std::optional<repository::EarlierWal>& proofs);
/// RFC 3339 or null.
Json proof_time_json(const std::optional<TimePoint>& time);
/// Of the last restore that was validated: PROOF of tests/integration/README.md, or null; "..., 6 d 03 h ago", "never".
Json proof_json(const std::optional<restore::DatedProof>& proof);
std::string proof_text(const std::optional<restore::DatedProof>& proof);
/// "6 d 03 h ago"
std::string ago(TimePoint time);

}  // namespace pgmint::cli
