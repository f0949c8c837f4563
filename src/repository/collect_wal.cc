#include "repository/collect_wal.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "repository/layout.h"
#include "repository/wal_object.h"

namespace pgmint::repository {
namespace {

using postgres::WalSegmentSize;

struct Floors {
  std::uint64_t all = 0, window = 0;
  std::uint64_t higher() const { return std::max(all, window); }
};

Floors floors_at(const LogState& state, const WalIdentity& identity, std::uint32_t timeline) {
  const auto of = [&](const std::vector<FloorLine>& lines) {
    std::uint64_t lsn = 0;
    for (const auto& line : lines)
      if (line.system_id == identity.system_id && line.incarnation == identity.incarnation && line.timeline == timeline)
        lsn = std::max(lsn, line.lsn);
    return lsn;
  };
  return {of(state.floors()), of(state.window_floors())};
}

/// The lowest position that a file of this name can hold, whatever the segment size.
std::optional<std::uint64_t> lowest_position(const std::string& file_name) {
  const auto name = postgres::parse_wal_file_name(file_name, *WalSegmentSize::of(1 << 20));
  if (!name || name->kind == postgres::WalFileKind::History) return std::nullopt;
  return postgres::start_of(name->segment, *WalSegmentSize::of(1 << 20)).value();
}

class TimelineListing {
 public:
  TimelineListing(Cluster& cluster, const WalIdentity& identity, std::uint32_t timeline, std::uint64_t floor)
      : cluster_(cluster), identity_(identity), timeline_(timeline), floor_(floor) {}

  /// In order of names, so that a segment comes before what belongs to it.
  Status add(const WalArchive::Listed& file, std::vector<ListedWal>& to) {
    const auto content = wal_content_of(file.file_name);
    const auto lowest = lowest_position(file.file_name);
    if (!content || !lowest || *lowest >= floor_) return ok();
    const auto object = wal_name(cluster_.id(), identity_.system_id, identity_.incarnation, file.file_name);
    if (*content != WalContent::Backup) {
      size_ = 0;
      const auto said = read_size(file, object);
      if (!said) {
        if (said.failure().code() != Errc::NotFound && said.failure().code() != Errc::Corruption && said.failure().code() != Errc::Precondition)
          return Error(said.failure()).with_context(object);
        log_info("{} stays: {}", object, said.failure().describe());
        return ok();
      }
      size_ = *said;
    }
    if (size_ == 0) return ok();
    const auto size = TRY(WalSegmentSize::of(size_));
    const auto name = postgres::parse_wal_file_name(file.file_name, size);
    if (!name) return ok();
    const auto first = postgres::start_of(name->segment, size).value();
    to.push_back({identity_, timeline_, first, first + size_, {object, file.stored}});
    return ok();
  }

 private:
  Result<std::uint32_t> read_size(const WalArchive::Listed& file, const std::string& object) {
    if (file.stored < kWalPrefixSize) return Error(Errc::Corruption, "the object is truncated");
    ByteArray<kWalPrefixSize> prefix;
    TRY(cluster_.store().read_range(object, 0, prefix));
    const auto parsed = TRY(parse_wal_prefix(prefix, cluster_.context(), identity_, file.file_name));
    return parsed.info.wal_segment_size;
  }

  Cluster& cluster_;
  const WalIdentity& identity_;
  std::uint32_t timeline_;
  std::uint64_t floor_;
  std::uint32_t size_ = 0;  ///< of the segment just before; 0: not known
};

}  // namespace

Result<std::vector<ListedWal>> list_wal_below_floors(Cluster& cluster, const LogState& state) {
  std::vector<ListedWal> found;
  for (const auto& [system_id, incarnation] : state.identities()) {
    const WalIdentity identity{system_id, incarnation};
    WalArchive archive(cluster, identity);
    for (const auto timeline : TRY(archive.timelines())) {
      const auto floor = floors_at(state, identity, timeline).higher();
      if (floor == 0) continue;
      TimelineListing listing(cluster, identity, timeline, floor);
      for (const auto& file : TRY(archive.list(timeline))) TRY(listing.add(file, found));
    }
  }
  return found;
}

bool may_go(const ListedWal& file, const LogState& state) {
  const auto floors = floors_at(state, file.identity, file.timeline);
  if (file.end <= floors.all) return true;
  if (file.end > floors.window) return false;
  // Of whatever timeline: the one that a backup ends on need not be the one that it began on.
  return std::ranges::none_of(state.snapshots(), [&](const auto& one) {
    const auto& snap = one.second.snap;
    return snap.system_id == file.identity.system_id && snap.incarnation == file.identity.incarnation &&
           snap.start_lsn < file.end && file.first <= snap.stop_lsn;
  });
}

}  // namespace pgmint::repository
