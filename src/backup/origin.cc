#include "backup/origin.h"

#include "backup/last_record.h"
#include "backup/preflight.h"

namespace pgmint::backup {
namespace {

class DataDirectoryOrigin final : public Origin {
 public:
  DataDirectoryOrigin(fs::path data_directory, Clock& clock) : path_(std::move(data_directory)), clock_(clock) {}

  Status check() override { return check_readable(path_); }
  Result<postgres::ControlFileImage> control_file() override { return postgres::read_control_file(path_, clock_); }
  Result<postgres::DirectoryScan> scan(const CancelToken* cancel) override { return postgres::scan_data_directory(path_, {.cancel = cancel}); }
  Result<std::vector<ExtraFile>> outside_configuration(const postgres::ServerFacts& server, std::vector<std::string>& warnings) override {
    return read_outside_configuration(server, path_, warnings);
  }
  Result<std::optional<postgres::Lsn>> last_needed_record(const postgres::ControlFile& control, postgres::TimelineId timeline, postgres::Lsn start,
                                                          postgres::Lsn stop) override {
    return backup::last_needed_record(segments_of(path_), timeline, start, stop, control.wal_segment_size);
  }
  Result<std::unique_ptr<OwnSegment>> own_segment(const postgres::ControlFile& control, const std::string& name, postgres::Lsn stop, std::uint32_t step) override {
    return open_own_segment(path_, name, stop, control, step);
  }

 private:
  const fs::path path_;
  Clock& clock_;
};

}  // namespace

std::unique_ptr<Origin> data_directory_origin(fs::path data_directory, Clock& clock) {
  return std::make_unique<DataDirectoryOrigin>(std::move(data_directory), clock);
}

}  // namespace pgmint::backup
