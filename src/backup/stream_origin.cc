#include "backup/stream_origin.h"

#include "backup/last_record.h"

namespace pgmint::backup {

Result<postgres::ControlFileImage> StreamOrigin::control_file() {
  postgres::ControlFileImage image;
  if (cluster.control.empty()) {
    image.control = TRY(server.control());
    return image;
  }
  image.control = TRY(postgres::parse_control_file(cluster.control).context("pg_control, as the server sent it"));
  image.bytes = cluster.control;
  return image;
}

Result<std::vector<ExtraFile>> StreamOrigin::outside_configuration(const postgres::ServerFacts& facts, std::vector<std::string>& warnings) {
  TRY(check_outside_configuration(facts, warnings));
  return std::vector<ExtraFile>();
}

Result<std::optional<postgres::Lsn>> StreamOrigin::last_needed_record(const postgres::ControlFile& control, postgres::TimelineId timeline, postgres::Lsn start,
                                                                      postgres::Lsn stop) {
  const SegmentReader sent = [this](const std::string& name, const std::function<Result<bool>(ByteView)>& take) -> Result<bool> {
    const bool is_there = name == cluster.last_segment.name;
    if (is_there) TRY(take(cluster.last_segment.bytes));
    return is_there;
  };
  return backup::last_needed_record(sent, timeline, start, stop, control.wal_segment_size);
}

}  // namespace pgmint::backup
