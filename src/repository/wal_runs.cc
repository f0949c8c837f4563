#include "repository/wal_runs.h"

#include <algorithm>

namespace pgmint::repository {
namespace {

constexpr std::size_t kRunMin = 2 + 8 + 1;
constexpr std::size_t kPlaceMin = 8 + 4 + 4 + 4 + 1 + 1 + kRunMin;

std::uint64_t micros(TimePoint time) { return static_cast<std::uint64_t>(time.time_since_epoch().count()); }

Result<WalPlace> read_place(codec::BinaryReader& in) {
  WalPlace place;
  place.system_id = TRY(in.u64());
  place.incarnation = Incarnation(TRY(in.u32()));
  place.timeline = TRY(in.u32());
  place.segment_size = TRY(in.u32());
  const auto content = TRY(in.u8());
  if (content != 1 && content != 2) return in.corrupt("runs of what is no WAL segment");
  place.partial = content == 2;
  if (place.timeline == 0) return in.corrupt("timeline 0");
  if (!postgres::WalSegmentSize::of(place.segment_size)) return in.corrupt("an impossible size of WAL segments");
  return place;
}

/// What comes behind the number of the run before it.
Status read_run(codec::BinaryReader& in, bool is_first, std::uint64_t& next, WalRun& run) {
  // No number reaches the end of the type: positions are 64 bits, and segments 1 MiB at least.
  const auto most = UINT64_MAX / run.place.segment_size;
  const auto apart = TRY(in.varint());
  if (next > most || apart > most - next) return in.corrupt("a segment beyond the end of WAL");
  if (!is_first && apart == 0) return in.corrupt("two runs of WAL that are one");
  run.first = next + apart;
  const auto more = TRY(in.varint());
  if (more > most - run.first) return in.corrupt("a segment beyond the end of WAL");
  run.last = run.first + more;
  const auto oldest = TRY(in.u64());
  const auto span = TRY(in.varint());
  constexpr auto kTimeMax = static_cast<std::uint64_t>(INT64_MAX);
  if (oldest > kTimeMax || span > kTimeMax - oldest) return in.corrupt("a time beyond the end of times");
  run.oldest = TimePoint(std::chrono::microseconds(static_cast<std::int64_t>(oldest)));
  run.newest = run.oldest + std::chrono::microseconds(static_cast<std::int64_t>(span));
  next = run.last + 1;
  return ok();
}

}  // namespace

std::optional<WalSegmentId> wal_segment_of(const WalIdentity& identity, postgres::WalSegmentSize size, std::string_view file_name) {
  const auto name = postgres::parse_wal_file_name(file_name, size);
  if (!name || (name->kind != postgres::WalFileKind::Segment && name->kind != postgres::WalFileKind::Partial)) return std::nullopt;
  return WalSegmentId{{identity.system_id, identity.incarnation, name->timeline.value(), size.bytes(), name->kind == postgres::WalFileKind::Partial},
                      name->segment.value()};
}

std::vector<WalRun> wal_runs_of(std::vector<StoredSegment> segments) {
  std::ranges::sort(segments, {}, &StoredSegment::id);
  std::vector<WalRun> runs;
  for (const auto& [id, written] : segments) {
    const auto time = std::max(written.value_or(TimePoint{}), TimePoint{});
    if (!runs.empty() && runs.back().place == id.place && runs.back().last + 1 == id.number) {
      auto& run = runs.back();
      run.last = id.number;
      run.oldest = std::min(run.oldest, time);
      run.newest = std::max(run.newest, time);
    } else {
      runs.push_back({id.place, id.number, id.number, time, time});
    }
  }
  return runs;
}

void write_wal_runs(codec::BinaryWriter& out, const std::vector<WalRun>& runs) {
  PGMINT_ASSERT(runs.size() <= kWalRunsMax);
  std::uint64_t places = 0;
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (i == 0 || runs[i].place != runs[i - 1].place) ++places;
  out.varint(places);
  for (auto run = runs.begin(); run != runs.end();) {
    const auto end = std::find_if(run, runs.end(), [&](const WalRun& other) { return other.place != run->place; });
    const auto& place = run->place;
    out.u64(place.system_id);
    out.u32(place.incarnation.value());
    out.u32(place.timeline);
    out.u32(place.segment_size);
    out.u8(place.partial ? 2 : 1);
    out.varint(static_cast<std::uint64_t>(end - run));
    for (std::uint64_t next = 0; run != end; ++run) {
      out.varint(run->first - next);
      out.varint(run->last - run->first);
      out.u64(micros(run->oldest));
      out.varint(micros(run->newest) - micros(run->oldest));
      next = run->last + 1;
    }
  }
}

Result<std::vector<WalRun>> read_wal_runs(codec::BinaryReader& in) {
  std::vector<WalRun> runs;
  const auto places = TRY(in.count(kPlaceMin));
  for (std::size_t i = 0; i < places; ++i) {
    WalRun run;
    run.place = TRY(read_place(in));
    if (!runs.empty() && run.place <= runs.back().place) return in.corrupt("its places of WAL are not in order");
    const auto count = TRY(in.count(kRunMin));
    if (count == 0) return in.corrupt("a place without WAL");
    if (count > kWalRunsMax - runs.size()) return in.corrupt("too many runs of WAL");
    std::uint64_t next = 0;
    for (std::size_t j = 0; j < count; ++j) {
      TRY(read_run(in, j == 0, next, run));
      runs.push_back(run);
    }
  }
  return runs;
}

}  // namespace pgmint::repository
