#include "postgres/backup_manifest.h"

#include <fmt/format.h>

namespace pgmint::postgres {
namespace {

constexpr std::size_t kPiece = 64U << 10;

}  // namespace

BackupManifestWriter::BackupManifestWriter(SystemIdentifier system, Put put) : put_(std::move(put)) {
  pending_ = fmt::format("{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {},\n\"Files\": [", system.value());
}

Status BackupManifestWriter::file(std::string_view path, std::uint64_t size) {
  PGMINT_ASSERT(path.find_first_of("\"\\\n") == std::string_view::npos);
  // The time is not looked at, and has to be there.
  auto line = fmt::format("{}\n{{ \"Path\": \"{}\", \"Size\": {}, \"Last-Modified\": \"1970-01-01 00:00:00 GMT\" }}", has_files_ ? "," : "", path, size);
  has_files_ = true;
  return add(line);
}

Status BackupManifestWriter::finish(TimelineId timeline, Lsn start, Lsn stop) {
  TRY(add(fmt::format("\n],\n\"WAL-Ranges\": [\n{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}\n],\n", timeline.value(), format(start), format(stop))));
  // Of every line before the last one.
  hash_.update(as_bytes(pending_));
  pending_ += fmt::format("\"Manifest-Checksum\": \"{}\"}}\n", to_hex(hash_.finish()));
  return put_(as_bytes(pending_));
}

Status BackupManifestWriter::add(std::string_view text) {
  pending_ += text;
  return pending_.size() < kPiece ? ok() : flush();
}

Status BackupManifestWriter::flush() {
  hash_.update(as_bytes(pending_));
  auto put = put_(as_bytes(pending_));
  pending_.clear();
  return put;
}

}  // namespace pgmint::postgres
