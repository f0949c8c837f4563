// What is known of packs without reading them now, told: for verify, status and show.
#pragma once

#include <string>

#include "cli/output.h"
#include "repository/verify_choice.h"
#include "restore/measured.h"

namespace pgmint::repository {
class Cluster;
}

namespace pgmint::cli {

/// Of every pack that a live backup refers to, or this one.
repository::EarlierProofs proofs_of(repository::Cluster& cluster, const std::optional<repository::SessionId>& only = {});

/// "all of it, the oldest 6 d 03 h ago", "3.1 GiB, the oldest 6 d 03 h ago; 160 MiB never", "never"
std::string proofs_text(const repository::EarlierProofs& proofs);
/// VERIFIED of tests/integration/README.md.
Json proofs_json(const repository::EarlierProofs& proofs);
/// RFC 3339 or null.
Json proof_time_json(const std::optional<TimePoint>& time);
/// Of the last restore that was validated: PROOF of tests/integration/README.md, or null; "..., 6 d 03 h ago", "never".
Json proof_json(const std::optional<restore::DatedProof>& proof);
std::string proof_text(const std::optional<restore::DatedProof>& proof);
/// "6 d 03 h ago"
std::string ago(TimePoint time);

}  // namespace pgmint::cli
