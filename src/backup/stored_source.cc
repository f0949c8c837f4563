#include "backup/stored_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "base/guarded.h"
#include "repository/delta_pages.h"
#include "repository/layout.h"
#include "repository/pack.h"

namespace pgmint::backup {
namespace {

using repository::DeltaPages;
using repository::RecordLocation;
using repository::SegmentMap;

constexpr std::size_t kRunMax = 4U << 20;     ///< bytes fetched from a pack at once
constexpr std::size_t kBundlesKept = 4;       ///< opened: small files are asked for in the order in which they stand there
constexpr std::uint64_t kDeltasAhead = 64;    ///< extents whose delta pages are fetched together: neighbours share records

}  // namespace

/// Reads records for whoever asks.
class StoredSource::Reader {
 public:
  explicit Reader(repository::Cluster& cluster) : cluster_(cluster) {}

  /// An opener that nobody else has, for as long as this lives.
  class Lent {
   public:
    explicit Lent(Reader& reader) : reader_(reader), opener_(reader.take()) {}
    ~Lent() { reader_.give(std::move(opener_)); }
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;
    repository::RecordOpener& operator*() { return *opener_; }
    repository::RecordOpener* operator->() { return opener_.get(); }

   private:
    Reader& reader_;
    std::unique_ptr<repository::RecordOpener> opener_;
  };

  Result<Bytes> record(repository::RecordOpener& opener, const RecordLocation& location) {
    return repository::read_record(cluster_.store(), cluster_.context(), opener, location);
  }
  Result<SegmentMap> map(const RecordLocation& location) {
    Lent opener(*this);
    return repository::parse_segment_map(TRY(record(*opener, location)));
  }
  Result<DeltaPages> deltas(repository::RecordOpener& opener, const SegmentMap& map, std::uint64_t first, std::uint64_t last) {
    return DeltaPages::load(cluster_.store(), cluster_.context(), opener, map, first, last);
  }
  Status fetch(const RecordLocation& first, MutableByteView out) {
    return cluster_.store().read_range(repository::pack_name(cluster_.id(), first.pack), first.offset, out);
  }
  Result<std::shared_ptr<const Bytes>> bundle(const RecordLocation& location) {
    auto known = bundles_.with([&](auto& bundles) -> std::shared_ptr<const Bytes> {
      const auto found = std::ranges::find(bundles, location, &KeptBundle::first);
      return found == bundles.end() ? nullptr : found->second;
    });
    if (known) return known;
    Lent opener(*this);
    auto opened = std::make_shared<const Bytes>(TRY(record(*opener, location)));
    bundles_.with([&](auto& bundles) {
      bundles.emplace_back(location, opened);
      if (bundles.size() > kBundlesKept) bundles.pop_front();
    });
    return opened;
  }

 private:
  using KeptBundle = std::pair<RecordLocation, std::shared_ptr<const Bytes>>;

  std::unique_ptr<repository::RecordOpener> take() {
    auto idle = openers_.with([](auto& openers) {
      std::unique_ptr<repository::RecordOpener> one;
      if (!openers.empty()) {
        one = std::move(openers.back());
        openers.pop_back();
      }
      return one;
    });
    return idle ? std::move(idle) : std::make_unique<repository::RecordOpener>(cluster_.context(), cluster_.keys());
  }
  void give(std::unique_ptr<repository::RecordOpener> opener) {
    openers_.with([&](auto& openers) { openers.push_back(std::move(opener)); });
  }

  repository::Cluster& cluster_;
  Guarded<std::vector<std::unique_ptr<repository::RecordOpener>>> openers_;
  Guarded<std::deque<KeptBundle>> bundles_;
};

namespace {

/// A file that stands in a bundle, or has nothing in it.
class SmallFile final : public SourceFile {
 public:
  SmallFile(std::shared_ptr<const Bytes> bundle, std::size_t offset, std::uint64_t size) : bundle_(std::move(bundle)), offset_(offset), size_(size) {}
  std::uint64_t size() const override { return size_; }
  std::unique_ptr<SourceRange> range(std::uint64_t, std::uint64_t) override { return std::make_unique<Range>(*this); }

 private:
  class Range final : public SourceRange {
   public:
    explicit Range(const SmallFile& file) : file_(file) {}
    Result<std::size_t> read(MutableByteView out, std::uint64_t offset) override {
      if (offset >= file_.size_) return std::size_t{0};
      const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), file_.size_ - offset));
      std::ranges::copy(ByteView(*file_.bundle_).subspan(file_.offset_ + offset, length), out.begin());
      return length;
    }

   private:
    const SmallFile& file_;
  };

  const std::shared_ptr<const Bytes> bundle_;
  const std::size_t offset_;
  const std::uint64_t size_;
};

/// A file with a map.
template <class Reader>
class MappedStoredFile final : public SourceFile {
 public:
  MappedStoredFile(Reader& reader, SegmentMap map) : reader_(reader), map_(std::move(map)) {}
  std::uint64_t size() const override { return map_.file_length; }
  std::unique_ptr<SourceRange> range(std::uint64_t offset, std::uint64_t length) override {
    return std::make_unique<Range>(*this, std::min(offset + length, map_.file_length));
  }

 private:
  using Deltas = std::shared_ptr<const DeltaPages>;

  /// The delta pages around extent `i`. Of the last that were asked for: workers read stretches of a file in order.
  Result<Deltas> deltas_at(repository::RecordOpener& opener, std::uint64_t i) {
    if (map_.deltas.empty()) return Deltas();
    auto known = deltas_.with([](auto& deltas) { return deltas; });
    if (known && known->covers(i)) return known;
    const auto first = i / kDeltasAhead * kDeltasAhead;
    auto loaded = std::make_shared<const DeltaPages>(TRY(reader_.deltas(opener, map_, first, std::min(map_.extent_count(), first + kDeltasAhead))));
    deltas_.with([&](auto& deltas) { deltas = loaded; });
    return Deltas(loaded);
  }

  class Range final : public SourceRange {
   public:
    Range(MappedStoredFile& file, std::uint64_t end) : file_(file), map_(file.map_), end_(end), opener_(file.reader_) {}

    Result<std::size_t> read(MutableByteView out, std::uint64_t offset) override {
      if (offset >= map_.file_length) return std::size_t{0};
      const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), map_.file_length - offset));
      for (std::size_t done = 0; done < length;) {
        const auto at = offset + done;
        const auto i = at / map_.extent_size;
        const auto in_extent = static_cast<std::size_t>(at - i * map_.extent_size);
        const auto part = out.subspan(done, std::min<std::size_t>(length - done, map_.extent_length(i) - in_extent));
        TRY(read_part(i, in_extent, part).context(fmt::format("extent {}", i)));
        done += part.size();
      }
      return length;
    }

   private:
    Status read_part(std::uint64_t i, std::size_t in_extent, MutableByteView out) {
      const auto deltas = TRY(file_.deltas_at(*opener_, i));
      if (out.size() == map_.extent_length(i)) {
        TRY(read_base(i, out));
        if (deltas) deltas->apply(map_, i, out);
        return ok();
      }
      whole_.resize(map_.extent_length(i));
      if (!(deltas && all_newer(*deltas, i, in_extent, out.size()))) TRY(read_base(i, whole_));
      if (deltas) deltas->apply(map_, i, whole_);
      std::ranges::copy(ByteView(whole_).subspan(in_extent, out.size()), out.begin());
      return ok();
    }

    /// Whether delta pages have all of a part, so that what lies below need not be fetched.
    bool all_newer(const DeltaPages& deltas, std::uint64_t i, std::size_t in_extent, std::size_t length) const {
      const auto first = i * map_.extent_size + in_extent;
      for (auto at = first / map_.page_size * map_.page_size; at < first + length; at += map_.page_size)
        if (!deltas.has(at / map_.page_size)) return false;
      return true;
    }

    Status read_base(std::uint64_t i, MutableByteView out) {
      const auto& extent = map_.extents[i];
      if (!extent.location) {
        std::ranges::fill(out, std::byte{0});
        return ok();
      }
      if (i < run_next_ || i >= run_last_) TRY(fetch_run(i));
      const auto& location = *extent.location;
      const auto stored = MutableByteView(run_).subspan(location.offset - map_.extents[run_first_].location->offset, location.stored_length);
      // Opening spoils it: an extent that is wanted again is fetched again.
      run_next_ = i + 1;
      return opener_->open(location, stored, out);
    }

    /// This extent, and those behind it in the range whose records lie behind its own.
    Status fetch_run(std::uint64_t i) {
      const auto& first = *map_.extents[i].location;
      std::size_t bytes = first.stored_length;
      auto last = i + 1;
      for (; last < map_.extent_count() && (last + 1) * map_.extent_size <= end_; ++last) {
        const auto& next = map_.extents[last].location;
        if (!next || next->pack != first.pack || next->offset != first.offset + bytes || bytes + next->stored_length > kRunMax) break;
        bytes += next->stored_length;
      }
      run_.resize(bytes);
      run_next_ = run_last_ = 0;
      TRY(file_.reader_.fetch(first, run_));
      run_first_ = run_next_ = i;
      run_last_ = last;
      return ok();
    }

    MappedStoredFile& file_;
    const SegmentMap& map_;
    const std::uint64_t end_;  ///< of the range: nothing behind it is fetched ahead
    typename Reader::Lent opener_;
    Bytes run_, whole_;
    std::uint64_t run_first_ = 0, run_next_ = 0, run_last_ = 0;  ///< extents in run_; those from run_next_ on are still sealed
  };

  Reader& reader_;
  const SegmentMap map_;
  Guarded<Deltas> deltas_;
};

}  // namespace

StoredSource::StoredSource(repository::Cluster& cluster, ParentFiles files) : reader_(std::make_unique<Reader>(cluster)), files_(std::move(files)) {}
StoredSource::~StoredSource() = default;

Result<std::unique_ptr<SourceFile>> StoredSource::open(const std::string& path) { return open(repository::FileArea::Data, path); }

Result<std::unique_ptr<SourceFile>> StoredSource::open(repository::FileArea area, const std::string& path) {
  const auto* file = files_.find(area, path);
  if (file == nullptr) return std::unique_ptr<SourceFile>();
  if (const auto member = file->content.member()) {
    auto bundle = TRY(reader_->bundle(member->bundle));
    if (member->offset > bundle->size() || file->size > bundle->size() - member->offset) return Error(Errc::Corruption, "it lies outside its bundle");
    return std::unique_ptr<SourceFile>(std::make_unique<SmallFile>(std::move(bundle), member->offset, file->size));
  }
  if (const auto* where = file->content.map()) {
    auto map = TRY(reader_->map(*where));
    if (map.file_length != file->size) return Error(Errc::Corruption, "its map has another length than its entry");
    return std::unique_ptr<SourceFile>(std::make_unique<MappedStoredFile<Reader>>(*reader_, std::move(map)));
  }
  return std::unique_ptr<SourceFile>(std::make_unique<SmallFile>(std::make_shared<const Bytes>(), 0, 0));
}

Result<bool> StoredSource::exists(const std::string& path) { return files_.find(repository::FileArea::Data, path) != nullptr; }

Result<std::optional<Bytes>> StoredSource::read_all(repository::FileArea area, const std::string& path, std::uint64_t size_max) {
  const auto file = TRY(open(area, path));
  if (!file) return std::optional<Bytes>();
  if (file->size() > size_max) return Error(Errc::ResourceLimit, fmt::format("{} is too large for its kind", path));
  Bytes bytes(file->size());
  if (TRY(file->range(0, bytes.size())->read(bytes, 0)) != bytes.size()) return Error(Errc::Corruption, fmt::format("{} is shorter than it should be", path));
  return std::optional(std::move(bytes));
}

}  // namespace pgmint::backup
