// What a snapshot holds beside the scanned files: configuration outside the data directory, pg_control, and WAL that a
// standby's backup carries for itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backup/forward.h"
#include "backup/pack_ledger.h"
#include "backup/parent.h"
#include "backup/server.h"
#include "postgres/control_file.h"
#include "repository/manifest.h"
#include "repository/pack_stream.h"
#include "repository/segment_map.h"

namespace pgmint::backup {

/// A file in memory on its way into a bundle.
struct ExtraFile {
  repository::FileEntry entry;  ///< all but kind and content
  Bytes bytes;
};

/// config_file, hba_file, ident_file and what they include, as far as they lie outside the data directory. What cannot
/// be read is a warning: the server would start without it, or with another. Area 1, absolute paths.
std::vector<ExtraFile> read_outside_configuration(const postgres::ServerFacts& facts, const fs::path& data_directory,
                                                  std::vector<std::string>& warnings);

/// For a server whose files are out of reach: says of which configuration the backup does without.
Status check_outside_configuration(const postgres::ServerFacts& facts, std::vector<std::string>& warnings);

/// Puts the files into bundles, but for those that stand in the parent as they are. Returns their entries, sorted.
/// @param parent, forward  may be null; what is to leave its pack is stored anew
/// @errors Key, ResourceLimit, the sink's
Result<std::vector<repository::FileEntry>> store_extra_files(repository::PackStream& packs, std::vector<ExtraFile> files,
                                                             const ParentFiles* parent = nullptr,
                                                             const Forward* forward = nullptr);

/// A standby's own copy of one WAL segment, as it counts: zeros from the end of the backup on.
class OwnSegment {
 public:
  virtual ~OwnSegment() = default;
  /// Fills `out`. @errors Io; Corruption, Storage
  virtual Status read(MutableByteView out, std::uint64_t offset) = 0;
  /// Area 2; all but kind, size and content.
  virtual repository::FileEntry entry() const = 0;
};
/// From its pg_wal, through `stop`; what follows in the file was never replayed, or is left over from a recycled segment.
/// nullptr: not there, or not (yet) this segment. @errors Io
Result<std::unique_ptr<OwnSegment>> open_own_segment(const fs::path& data_directory, const std::string& name, postgres::Lsn stop,
                                                     const postgres::ControlFile& control, std::uint32_t step);

/// Takes it into the backup. @errors as OwnSegment::read, store_extra_files
Result<repository::FileEntry> carry_segment(repository::PackStream& packs, repository::PackStream& maps, OwnSegment& segment, const postgres::ControlFile& control,
                                            std::uint32_t extent_size, PackLedger& ledger);

}  // namespace pgmint::backup
