// PostgreSQL's small text files: the first byte chooses which, the rest is the text.
#include "fuzz_input.h"
#include "postgres/backup_label.h"
#include "postgres/configuration_text.h"
#include "postgres/data_directory.h"
#include "postgres/history.h"
#include "postgres/wal_name.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::postgres;
  if (size == 0) return 0;
  auto text = as_text(fuzz_input(data + 1, size - 1));
  switch (data[0] % 6) {
    case 0: {
      auto history = TimelineHistory::parse(TimelineId(9), text);
      if (parsed_or_corrupt(history)) PGMINT_ASSERT(history->timeline_at(Lsn(~std::uint64_t{0})) == TimelineId(9));
      break;
    }
    case 1:
      (void)parsed_or_corrupt(parse_backup_label(text));
      break;
    case 2:
      for (int major : {13, 18}) {
        auto map = parse_tablespace_map(text, *find_version(major));
        if (!parsed_or_corrupt(map)) continue;
        auto written = format_tablespace_map(*map, *find_version(major));
        if (written) PGMINT_ASSERT(parse_tablespace_map(*written, *find_version(major)).value() == *map);
      }
      break;
    case 3: {
      auto stripped = strip_settings(text);
      PGMINT_ASSERT(strip_settings(stripped) == stripped);
      for (auto name : {"restore_command", "recovery_target_time", "primary_conninfo"})
        PGMINT_ASSERT(!find_setting(stripped, name));
      auto added = append_settings(stripped, "added", {{"restore_command", "x'\\"}});
      PGMINT_ASSERT(added && find_setting(*added, "restore_command") == "x'\\");
      break;
    }
    case 4:
      (void)relation_of_path(text);
      (void)classify_path(text);
      (void)database_directory_of(text);
      break;
    default:
      if (auto name = parse_wal_file_name(text, WalSegmentSize::default_size()))
        PGMINT_ASSERT(format(*name, WalSegmentSize::default_size()) == text);
      (void)parse_lsn(text);
  }
  return 0;
}
