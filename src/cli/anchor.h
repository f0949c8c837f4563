// Where a cluster's log ended at a moment, in one line to keep elsewhere: so that a tail that was cut off is noticed.
#pragma once

#include <string>
#include <vector>

#include "repository/repository.h"

namespace pgmint::cli {

struct Anchor {
  std::string repository, cluster;  ///< ids in hexadecimal
  std::string name;                 ///< of the cluster
  std::uint32_t generation = 0;
  std::uint64_t seq = 0;            ///< of the newest entry
  crypto::Digest hash{};            ///< SHA-256 of its object
  TimePoint time{};                 ///< when it was looked at
};

Anchor anchor_of(repository::Repository& repository, const repository::Cluster& cluster);
/// "pgmint-anchor-1 REPOSITORY CLUSTER GENERATION SEQ HASH TIME NAME"
std::string format(const Anchor& anchor);
/// All lines of a file. @errors Usage: a line is no anchor, or there is none
Result<std::vector<Anchor>> parse_anchors(std::string_view text, const std::string& source);
/// Why what it says is no longer so; empty: it is. @errors Storage
Result<std::string> disagreement(repository::Repository& repository, const Anchor& anchor);

}  // namespace pgmint::cli
