// The manifest: what was copied, as sorted entries in a tree of nodes, and the root above it.
#pragma once

#include "backup/copy.h"
#include "backup/extra_files.h"
#include "backup/forward.h"
#include "backup/parent.h"
#include "repository/manifest.h"

namespace pgmint::backup {

struct Described {
  repository::ManifestTreeWriter::Tree tree;
  std::uint64_t files = 0;        ///< entries with content
  std::uint64_t total_bytes = 0;  ///< of their content
  /// What the tree refers to, for the account: bundles (perhaps several times), maps, and its own nodes.
  std::vector<repository::RecordLocation> bundles, maps, nodes;
};

/// Writes the tree: the scan's entries with what became of each, pg_control in its place, then areas 1 and 2.
/// @param control  global/pg_control's entry, already stored
/// @param extras   areas 1 and 2, sorted
/// @param parent   a node that it has already is referred to where it stands, unless its pack is to be emptied; may be null
/// @param forward  may be null
/// @param owner    of data and WAL, where their numbers are another host's; empty: as this one names them
/// @errors Key, ResourceLimit, the stream's sink's
Result<Described> describe(repository::PackStream& maps, const postgres::DirectoryScan& scan, const std::vector<CopiedFile>& files,
                           repository::FileEntry control, std::vector<repository::FileEntry> extras,
                           const ParentFiles* parent, const Forward* forward, const std::string& owner = "");

/// Writes the account of what the tree refers to. @param parent, forward  as above @errors as above
Result<std::vector<repository::RecordLocation>> write_account(repository::PackStream& maps, const repository::PackUse& use, const ParentFiles* parent,
                                                              const Forward* forward);

}  // namespace pgmint::backup
