#include "backup/stream_source.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgmint::backup {
namespace {

class ArrivedRange final : public SourceRange {
 public:
  ArrivedRange(Bytes bytes, std::uint64_t offset) : bytes_(std::move(bytes)), offset_(offset) {}
  Result<std::size_t> read(MutableByteView out, std::uint64_t offset) override {
    if (offset < offset_ || offset - offset_ > bytes_.size()) return std::size_t{0};
    const auto from = ByteView(bytes_).subspan(static_cast<std::size_t>(offset - offset_));
    const auto part = from.first(std::min(from.size(), out.size()));
    std::ranges::copy(part, out.begin());
    return part.size();
  }
  bool looks_again() const override { return false; }

 private:
  Bytes bytes_;
  std::uint64_t offset_;
};

class ArrivedHandle final : public SourceFile {
 public:
  explicit ArrivedHandle(std::shared_ptr<ArrivedFile> file) : file_(std::move(file)) {}
  std::uint64_t size() const override { return file_->size(); }
  std::unique_ptr<SourceRange> range(std::uint64_t offset, std::uint64_t) override {
    return std::make_unique<ArrivedRange>(file_->take(offset), offset);
  }

 private:
  std::shared_ptr<ArrivedFile> file_;
};

}  // namespace

void ArrivedFile::put(std::uint64_t offset, Bytes piece) {
  pieces_.with([&](auto& pieces) { pieces.emplace(offset, std::move(piece)); });
}

Bytes ArrivedFile::take(std::uint64_t offset) {
  return pieces_.with([&](auto& pieces) {
    auto node = pieces.extract(offset);
    return node.empty() ? Bytes() : std::move(node.mapped());
  });
}

Result<std::shared_ptr<ArrivedFile>> StreamSource::announce(const std::string& path, std::uint64_t size) {
  auto file = std::make_shared<ArrivedFile>(size);
  if (!files_.with([&](auto& files) { return files.emplace(path, file).second; }))
    return Error(Errc::Postgres, fmt::format("PostgreSQL: it sends {} twice", path));
  return file;
}

void StreamSource::clear() {
  files_.with([](auto& files) { files.clear(); });
}

Result<std::unique_ptr<SourceFile>> StreamSource::open(const std::string& path) {
  auto file = files_.with([&](auto& files) {
    auto node = files.extract(path);
    return node.empty() ? nullptr : std::move(node.mapped());
  });
  if (!file) return std::unique_ptr<SourceFile>();
  return std::unique_ptr<SourceFile>(std::make_unique<ArrivedHandle>(std::move(file)));
}

}  // namespace pgmint::backup
