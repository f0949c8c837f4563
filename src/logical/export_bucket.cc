#include "logical/export_bucket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crypto/hash.h"

namespace pgmint::logical {
namespace {

constexpr std::size_t kSumMax = 4096;  ///< a .sha256 is 64 digits and a name

/// What has a length and a SHA-256.
class Measure {
 public:
  void add(ByteView bytes) {
    hash_.update(bytes);
    size_ += bytes.size();
  }
  std::uint64_t size() const { return size_; }
  std::string sha256() { return to_hex(hash_.finish()); }

 private:
  crypto::Sha256 hash_;
  std::uint64_t size_ = 0;
};

/// A file that nobody else can open and that is gone with its process, however that ends.
class NamelessFile {
 public:
  static Result<NamelessFile> create(const fs::path& directory, std::string_view name) {
    TRY(create_directories(directory, 0700));
    NamelessFile file;
    file.shown_ = (directory / fmt::format(".{}.{}", name, ::getpid())).string();
    file.fd_ = TRY(open_file(file.shown_, O_RDWR | O_CREAT | O_EXCL, 0600));
    if (::unlink(file.shown_.c_str()) != 0) return errno_error(errno, file.shown_);
    return file;
  }
  NamelessFile(NamelessFile&& other) noexcept
      : shown_(std::move(other.shown_)), fd_(std::move(other.fd_)), size_(other.size_), mapped_(std::exchange(other.mapped_, MutableByteView())) {}
  ~NamelessFile() {
    if (!mapped_.empty()) ::munmap(mapped_.data(), mapped_.size());
  }

  Status write(ByteView data) {
    size_ += data.size();
    return write_all(fd_, data, shown_);
  }
  /// All of it, as memory. After the last write().
  Result<ByteView> content() {
    void* at = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd_.get(), 0);
    if (at == MAP_FAILED) return errno_error(errno, shown_);
    mapped_ = {static_cast<std::byte*>(at), size_};
    ::madvise(at, size_, MADV_SEQUENTIAL);
    return ByteView(mapped_);
  }

 private:
  NamelessFile() = default;

  std::string shown_;
  Fd fd_;
  std::uint64_t size_ = 0;
  MutableByteView mapped_{};
};

class BucketExport {
 public:
  BucketExport(const BucketExportRequest& request, DumpFile file)
      : request_(request), bucket_(request.bucket), file_(std::move(file)), key_(fmt::format("{}/{}", request.folder, request.dump.file_name)), sum_key_(sum_name(key_)) {
    report_.url = bucket_.url_of(key_);
    report_.sum_url = bucket_.url_of(sum_key_);
  }

  Result<BucketExportReport> run() {
    const auto there = TRY(bucket_.front(key_, crypto::kEncHeader));
    const auto sum_there = TRY(bucket_.front(sum_key_, kSumMax));
    if (there)
      TRY(compare_with(*there));
    else if (sum_there)
      return Error(Errc::Precondition, fmt::format("{} is there, and the file that it belongs to is not", report_.sum_url), remedy());
    else
      TRY(send());
    report_.was_there = there && sum_there;
    const auto sum = sum_text(report_.sha256, request_.dump.file_name);
    report_.sum_bytes = sum.size();
    if (sum_there && as_text(sum_there->bytes) != sum) return other_object(report_.sum_url);
    if (!sum_there) TRY(send_sum(sum));
    return std::move(report_);
  }

 private:
  Hint remedy() const { return Hint{"an export replaces nothing: remove it (aws s3 rm), or choose another prefix with --to"}; }
  Error other_object(const std::string& url) const {
    return Error(Errc::Precondition, fmt::format("{} is there already, with other bytes: another dump, or this one under another passphrase or made by another version", url), remedy());
  }
  void tell(std::string_view phase, std::uint64_t done, std::uint64_t total) const {
    if (request_.progress) request_.progress(phase, done, total);
  }

  /// SHA-256 of what the bucket holds. @errors Corruption: it has another size by now
  Result<std::string> sum_of_object(std::uint64_t size) {
    Measure measure;
    TRY(bucket_.read(key_, size, [&](ByteView bytes) {
      measure.add(bytes);
      tell("read back", measure.size(), size);
      return ok();
    }));
    return measure.sha256();
  }

  /// Nothing is written, not even on this host: what would be under that object's salt is compared by its sum.
  Status compare_with(const storage::S3Upload::Front& there) {
    const auto salt = crypto::enc_salt(there.bytes);
    if (!salt) return other_object(report_.url);
    Measure made;
    TRY(file_.write(salt, [&](ByteView bytes) {
      made.add(bytes);
      return ok();
    }));
    if (made.size() != there.size) return other_object(report_.url);
    report_.bytes = made.size();
    report_.sha256 = made.sha256();
    report_.encryption = there.encryption;
    if (TRY(sum_of_object(there.size)) != report_.sha256) return other_object(report_.url);
    return ok();
  }

  Status send() {
    auto spool = TRY(NamelessFile::create(request_.spool_directory, request_.dump.file_name));
    Measure made;
    TRY(file_.write(std::nullopt, [&](ByteView bytes) {
      made.add(bytes);
      return spool.write(bytes).context("keep the encrypted file until it is sent");
    }));
    report_.bytes = made.size();
    report_.sha256 = made.sha256();
    tell("send", 0, made.size());
    const auto created = TRY(bucket_.create(key_, TRY(spool.content()), [&](std::uint64_t sent) { tell("send", sent, made.size()); }));
    return check(created);
  }

  /// What was sent is what is there, or it is named. `created`: somebody else may have been first, or an answer of ours was lost.
  Status check(storage::Created created) {
    const auto wrong = [&](const std::string& how) {
      if (created == storage::Created::AlreadyExists) return other_object(report_.url);
      return Error(Errc::Corruption, fmt::format("{}: {}", report_.url, how), Hint{fmt::format("remove it (aws s3 rm {}) and export again; it has no .sha256", report_.url)});
    };
    const auto there = TRY(bucket_.front(key_, crypto::kEncHeader).context("sent, and not yet read back"));
    if (!there) return wrong("it was created, and is not there");
    if (there->size != report_.bytes) return wrong(fmt::format("{} bytes were sent, and {} are there", report_.bytes, there->size));
    report_.encryption = there->encryption;
    const auto sum = TRY(sum_of_object(there->size).context("sent, and not yet read back"));
    if (sum != report_.sha256) return wrong(fmt::format("what was sent has the SHA-256 {}, and what is there {}", report_.sha256, sum));
    return ok();
  }

  Status send_sum(const std::string& sum) {
    const auto created = TRY(bucket_.create(sum_key_, as_bytes(sum)));
    const auto there = TRY(bucket_.front(sum_key_, kSumMax).context("sent, and not yet read back"));
    if (there && as_text(there->bytes) == sum && there->size == sum.size()) return ok();
    if (created == storage::Created::AlreadyExists) return other_object(report_.sum_url);
    return Error(Errc::Corruption, fmt::format("{}: what is there is not what was sent", report_.sum_url), Hint{fmt::format("remove it (aws s3 rm {}) and export again", report_.sum_url)});
  }

  const BucketExportRequest& request_;
  storage::S3Upload& bucket_;
  const DumpFile file_;
  const std::string key_, sum_key_;
  BucketExportReport report_;
};

}  // namespace

Result<BucketExportReport> export_dump_to_bucket(const BucketExportRequest& request) {
  return BucketExport(request, TRY(DumpFile::find(request.dump))).run();
}

}  // namespace pgmint::logical
