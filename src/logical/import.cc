#include <fcntl.h>
#include <fmt/format.h>

#include <optional>

#include "codec/gzip.h"
#include "crypto/openssl_enc.h"
#include "logical/stream_backup.h"
#include "logical/export.h"

namespace pgmint::logical {
namespace {

constexpr std::size_t kReadSize = 256 << 10;
constexpr std::string_view kEncMagic = "Salted__", kGzipMagic = "\x1f\x8b\x08", kArchiveMagic = "PGDMP";

bool starts_with(ByteView data, std::string_view magic) { return as_text(data).starts_with(magic); }

/// The archive in a file, layer by layer.
class ArchiveFile {
 public:
  /// @errors NotFound, Io, Key, Corruption
  static Result<ArchiveFile> open(const fs::path& path, const std::string& passphrase) {
    ArchiveFile file;
    file.path_ = path.string();
    file.fd_ = TRY(open_file(path, O_RDONLY));
    file.buffer_.resize(kReadSize);
    auto first = TRY(file.next_of_file());
    if (starts_with(first, kEncMagic)) TRY(file.choose_derivation(first, passphrase));
    file.take(first);
    if (starts_with(file.plain_, kGzipMagic)) {
      file.gzip_.emplace(std::make_unique<codec::GzipReader>());
      const Bytes packed = std::exchange(file.plain_, {});
      TRY((*file.gzip_)->update(packed, file.archive_).context(file.path_));
    } else {
      file.archive_ = std::exchange(file.plain_, {});
    }
    if (!starts_with(file.archive_, kArchiveMagic))
      return Error(Errc::Corruption, fmt::format("{} holds no archive in pg_dump's custom format", file.path_),
                   Hint{"a dump in plain SQL is restored by psql; pg_dump -Fc writes what pgmint takes"});
    return file;
  }

  /// Some bytes of the archive; 0: the end.
  Result<std::size_t> read(MutableByteView out) {
    while (at_ == archive_.size() && !ended_) {
      archive_.clear();
      at_ = 0;
      TRY(more());
    }
    const auto n = std::min(out.size(), archive_.size() - at_);
    std::memcpy(out.data(), archive_.data() + at_, n);
    at_ += n;
    return n;
  }

 private:
  ArchiveFile() = default;

  Result<ByteView> next_of_file() {
    const auto got = TRY(read_at(fd_, buffer_, offset_, path_));
    offset_ += got;
    return ByteView(buffer_).first(got);
  }

  /// openssl enc does not say how it was called: what opens to something known is right.
  Status choose_derivation(ByteView& first, const std::string& passphrase) {
    if (passphrase.empty())
      return Error(Errc::Key, fmt::format("{} is encrypted", path_), Hint{"name the file with its passphrase: --passphrase-file F"});
    if (first.size() < crypto::kEncHeader) return Error(Errc::Corruption, fmt::format("{} is cut off", path_));
    const auto body = first.subspan(crypto::kEncHeader);
    for (const auto derivation : {crypto::EncDerivation::Pbkdf2, crypto::EncDerivation::LegacySha256, crypto::EncDerivation::LegacyMd5}) {
      auto probe = TRY(crypto::EncReader::open(passphrase, derivation, first));
      Bytes opened;
      probe.update(body.first(std::min<std::size_t>(body.size(), 64)), opened);
      if (!starts_with(opened, kGzipMagic) && !starts_with(opened, kArchiveMagic)) continue;
      enc_.emplace(TRY(crypto::EncReader::open(passphrase, derivation, first)));
      first = body;
      return ok();
    }
    return Error(Errc::Key, fmt::format("the passphrase does not open {}", path_),
                 Hint{"tried: openssl enc -aes-256-cbc with -pbkdf2, and without it with -md sha256 and -md md5"});
  }

  void take(ByteView bytes) {
    if (enc_) enc_->update(bytes, plain_);
    else append(plain_, bytes);
  }
  Status end_enc() {
    TRY(enc_->finish(plain_).context(path_));
    enc_.reset();
    return ok();
  }

  Status more() {
    const auto bytes = TRY(next_of_file());
    ended_ = bytes.empty();
    take(bytes);
    if (ended_ && enc_) TRY(end_enc());
    const Bytes plain = std::exchange(plain_, {});
    if (!gzip_) {
      append(archive_, plain);
      return ok();
    }
    TRY((*gzip_)->update(plain, archive_).context(path_));
    return ended_ ? (*gzip_)->finish().context(path_) : ok();
  }

  std::string path_;
  Fd fd_;
  std::uint64_t offset_ = 0;
  Bytes buffer_, plain_, archive_;
  std::size_t at_ = 0;
  bool ended_ = false;
  std::optional<crypto::EncReader> enc_;
  std::optional<std::unique_ptr<codec::GzipReader>> gzip_;
};

}  // namespace

Result<DumpReport> import_dump(const ImportRequest& request) {
  // Its name stands at the archive's beginning, and a file that is none is refused before anything is written.
  std::string database = request.database;
  {
    auto file = TRY(ArchiveFile::open(request.file, request.passphrase));
    ArchiveScanner scanner;
    Bytes piece(kReadSize);
    std::size_t got = 0;
    do {
      got = TRY(file.read(piece));
      TRY(scanner.take(ByteView(piece).first(got)).context(request.file.string()));
    } while (got != 0 && !scanner.database());
    if (!scanner.database()) TRY(std::move(scanner).finish().context(request.file.string()));
    if (database.empty()) database = scanner.database().value_or("");
  }

  auto session = TRY(StreamBackup::begin({request.cluster, repository::BackupType::Logical, {database}, request.codec, request.workers, request.cancel}));
  if (request.progress) session->on_progress([&] { request.progress(session->bytes()); });
  DumpReport report;
  auto taken = [&]() -> Status {
    auto file = TRY(ArchiveFile::open(request.file, request.passphrase));
    ArchiveScanner scanner;
    const auto directory = database_directory(database);
    const auto counts = TRY(session->store(
        fmt::format("{}/{}", directory, kArchiveFile), [&](MutableByteView out) { return file.read(out); }, [&](ByteView piece) { return scanner.take(piece); }));
    const auto contents = TRY(std::move(scanner).finish().context(request.file.string()));
    TRY(session->store(fmt::format("{}/{}", directory, kContentsFile), encode_contents(contents)));
    report.databases.push_back({database, counts.length, counts.shared, counts.resembling, contents.rows(), contents.tables()});
    StreamBackupFacts facts;
    facts.pg_major = static_cast<std::uint32_t>(std::max(0, std::atoi(contents.server_version.c_str())));
    facts.note = request.note;
    facts.settings = {{"server_version", contents.server_version}, {std::string(kImportedFromSetting), request.file.filename().string()}};
    return session->commit(std::move(facts), request.started);
  }();
  if (!taken) {
    session->give_up();
    return std::move(taken).failure();
  }
  report.name = session->name();
  report.parent = session->parent();
  report.session = session->id();
  report.started = request.started;
  report.finished = session->finished();
  report.total_bytes = session->total_bytes();
  report.stored_bytes = session->stored_bytes();
  report.warnings = session->warnings();
  return report;
}

}  // namespace pgmint::logical
