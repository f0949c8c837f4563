#include "logical/dump_file.h"

#include <fmt/format.h>

#include "codec/gzip.h"
#include "logical/stream_reader.h"

namespace pgmint::logical {

Result<DumpFile> DumpFile::find(const DumpFileRequest& request) {
  const auto archive = request.dump.files.find(fmt::format("{}/{}", database_directory(request.database), kArchiveFile));
  if (archive == request.dump.files.end() || archive->second.kind != repository::FileKind::Stream)
    return Error(Errc::NotFound, fmt::format("backup {} has no dump of {}", request.dump.root.name, request.database),
                 Hint{fmt::format("it has: {}", fmt::join(request.dump.databases, ", "))});
  return DumpFile(request, std::get<repository::RecordLocation>(archive->second.content));
}

Status DumpFile::write(const std::optional<crypto::EncSalt>& salt, const std::function<Status(ByteView)>& sink) const {
  auto reader = TRY(StreamReader::open(request_.cluster, archive_, request_.workers, request_.cancel));
  codec::GzipWriter gzip;
  Bytes packed, sealed;
  auto enc = salt ? crypto::EncWriter(request_.passphrase, *salt, sealed)
                  : crypto::EncWriter(request_.passphrase, request_.cluster.repository().environment().random, sealed);
  std::uint64_t done = 0;
  TRY(reader.read([&](ByteView bytes) -> Result<bool> {
    gzip.update(bytes, packed);
    enc.update(packed, sealed);
    packed.clear();
    TRY(sink(sealed));
    sealed.clear();
    done += bytes.size();
    if (request_.progress) request_.progress(done, reader.length());
    return true;
  }));
  gzip.finish(packed);
  enc.update(packed, sealed);
  enc.finish(sealed);
  return sink(sealed);
}

std::string sum_name(const std::string& file_name) { return file_name + ".sha256"; }

std::string sum_text(const std::string& sha256, const std::string& file_name) { return fmt::format("{}  {}\n", sha256, file_name); }

}  // namespace pgmint::logical
