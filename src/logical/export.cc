#include "logical/export.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "crypto/hash.h"

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
  const auto dump = TRY(DumpFile::find(request.dump));
  const auto& name = request.dump.file_name;
  TRY(create_directories(request.directory, 0700));
  ExportReport report;
  report.file = request.directory / name;
  report.sum_file = request.directory / sum_name(name);
  auto sum_file = TRY(FileInMaking::create(report.sum_file));
  auto file = TRY(FileInMaking::create(report.file));
  TRY(dump.write(std::nullopt, [&](ByteView bytes) { return file.write(bytes); }));
  report.bytes = file.bytes();
  report.sha256 = TRY(file.publish());
  TRY(sum_file.write(as_bytes(sum_text(report.sha256, name))));
  TRY(sum_file.publish());
  return report;
}

}  // namespace pgmint::logical
