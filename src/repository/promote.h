// `replicate promote`: makes a mirror a repository of its own, in a new generation of each log. Decision: docs/adr/0030-mirrors.md
#pragma once

#include "repository/rebuild.h"

namespace pgmint::repository {

struct PromotedCluster {
  ClusterId id;
  RebuildReport log;
};

struct PromoteReport {
  MirrorMark mark;                        ///< as it stands now
  bool was_promoted = false;              ///< by an earlier run: there was nothing left to do but to tidy up
  std::vector<PromotedCluster> clusters;
  std::vector<ClusterId> left_out;        ///< clusters that the mirror had not copied whole: they do not count
  std::vector<std::string> removed_slots; ///< key slots that the source had removed, and the mirror had kept
};

/// Opens a root-signed generation in the log of each cluster that the mirror shows, from what it shows, then writes the mark that makes
/// the store a repository: that is the step that decides. Cut off at any step before, the store is the mirror that it was, and the same
/// again goes on. The source is not asked, and what is copied from it afterwards is refused.
/// @param repository  of Repository::open_to_promote()
/// @param made_by     user@host
/// @errors Key (root role only; this root is not in force), Precondition (the store takes one writer only), Corruption (a log is damaged:
/// nothing was changed), Busy (somebody copies into it at this moment), Storage
Result<PromoteReport> promote(Repository& repository, const std::string& made_by);

}  // namespace pgmint::repository
