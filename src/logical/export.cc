#include "logical/export.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "codec/gzip.h"
#include "crypto/hash.h"
#include "crypto/openssl_enc.h"
#include "logical/stream_reader.h"

namespace pgmint::logical {
namespace {

constexpr mode_t kMode = 0600;

/// A file that gets its name when it is whole, and goes when it is not.
class FileInMaking {
 public:
  static Result<FileInMaking> create(const fs::path& path) {
    if (TRY(stat_if_exists(path)))
      return Error(Errc::Precondition, fmt::format("{} exists", path.string()), Hint{"an export replaces nothing: remove it, or choose another folder with --to"});
    FileInMaking file;
    file.path_ = path;
    file.temporary_ = path.parent_path() / fmt::format(".{}.{}", path.filename().string(), ::getpid());
    file.fd_ = TRY(open_file(file.temporary_, O_WRONLY | O_CREAT | O_EXCL, kMode));
    return file;
  }
  FileInMaking(FileInMaking&&) noexcept = default;
  ~FileInMaking() {
    if (fd_.valid()) ::unlink(temporary_.c_str());
  }

  Status write(ByteView data) {
    hash_.update(data);
    bytes_ += data.size();
    return write_all(fd_, data, temporary_.string());
  }
  /// @return the SHA-256 in hex
  Result<std::string> publish() {
    TRY(sync_file(fd_, temporary_.string()));
    // As with rename, but never over a file that appeared meanwhile.
    if (::link(temporary_.c_str(), path_.c_str()) != 0) return errno_error(errno, path_.string());
    ::unlink(temporary_.c_str());
    fd_ = Fd();
    TRY(sync_directory(path_.parent_path()));
    return to_hex(hash_.finish());
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  FileInMaking() = default;

  fs::path path_, temporary_;
  Fd fd_;
  crypto::Sha256 hash_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

Result<ExportReport> export_dump(const ExportRequest& request) {
  const auto archive = request.dump.files.find(fmt::format("{}/{}", database_directory(request.database), kArchiveFile));
  if (archive == request.dump.files.end() || archive->second.kind != repository::FileKind::Stream)
    return Error(Errc::NotFound, fmt::format("backup {} has no dump of {}", request.dump.root.name, request.database),
                 Hint{fmt::format("it has: {}", fmt::join(request.dump.databases, ", "))});
  TRY(create_directories(request.directory, 0700));
  ExportReport report;
  report.file = request.directory / request.file_name;
  report.sum_file = request.directory / fmt::format("{}.sha256", request.file_name);
  auto sum_file = TRY(FileInMaking::create(report.sum_file));
  auto file = TRY(FileInMaking::create(report.file));

  auto reader = TRY(StreamReader::open(request.cluster, std::get<repository::RecordLocation>(archive->second.content), request.workers, request.cancel));
  codec::GzipWriter gzip;
  Bytes packed, sealed;
  crypto::EncWriter enc(request.passphrase, request.cluster.repository().environment().random, sealed);
  const auto pass_on = [&]() -> Status {
    enc.update(packed, sealed);
    packed.clear();
    TRY(file.write(sealed));
    sealed.clear();
    return ok();
  };
  std::uint64_t done = 0;
  TRY(reader.read([&](ByteView bytes) -> Result<bool> {
    gzip.update(bytes, packed);
    TRY(pass_on());
    done += bytes.size();
    if (request.progress) request.progress(done, reader.length());
    return true;
  }));
  gzip.finish(packed);
  enc.update(packed, sealed);
  enc.finish(sealed);
  TRY(file.write(sealed));
  report.bytes = file.bytes();
  report.sha256 = TRY(file.publish());
  TRY(sum_file.write(as_bytes(fmt::format("{}  {}\n", report.sha256, request.file_name))));
  TRY(sum_file.publish());
  return report;
}

}  // namespace pgmint::logical
