#include "storage/cache_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <map>
#include <mutex>
#include <system_error>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "crypto/md5.h"
#include "storage/forwarding_store.h"

namespace pgmint::storage {
namespace {

constexpr auto kTouchedAfter = std::chrono::hours(24);  ///< a copy that is used says so about once a day
constexpr auto kSmallStays = std::chrono::hours(24);
constexpr std::size_t kInMemory = 4;  ///< small objects that are read piece by piece
constexpr int kKeptBeforePruning = 256;
constexpr std::string_view kFronts = "fronts";  ///< below which fronts stand
constexpr std::string_view kPartThatPrunes = "00";  ///< of the 256 below which copies stand
constexpr std::size_t kListedMax = 200'000;
constexpr std::size_t kDigestSize = std::tuple_size_v<crypto::Digest>;

crypto::Digest digest_of(std::string_view place, const std::string& name, ByteView data) {
  crypto::Sha256 hash;
  hash.update(as_bytes(place));
  hash.update(as_bytes(std::string_view("\0", 1)));
  hash.update(as_bytes(name));
  hash.update(as_bytes(std::string_view("\0", 1)));
  hash.update(data);
  return hash.finish();
}

/// S3's etag of an object that went up in one piece and was not encrypted by a key of a service.
bool is_md5(std::string_view etag) {
  return etag.size() == 32 && std::ranges::all_of(etag, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}
bool has_md5(ByteView data, const std::string& etag) {
  const auto md5 = crypto::md5(data);
  return md5 && to_hex(*md5) == etag;
}

class CacheStore final : public ForwardingStore {
 public:
  CacheStore(std::unique_ptr<BlobStore> inner, fs::path directory, CachePolicy policy, Clock& clock)
      : ForwardingStore(std::move(inner)), place_(describe()), directory_(std::move(directory)), policy_(std::move(policy)), clock_(clock) {}

  Result<Created> create(const std::string& name, ByteView data) override {
    auto created = inner().create(name, data);
    if (created && *created == Created::Yes) {
      keep(name, data);
      if (policy_.keeps_small && data.size() <= policy_.small_max && policy_.keeps_small(name)) keep_as(name, data);
      if (policy_.keeps_front && policy_.keeps_front(name)) {
        keep_front(name, {data.size(), inner().take_created_etag(name)}, data.first(std::min(data.size(), kFrontMax)));
      }
    }
    return created;
  }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    const auto kept = policy_.keeps_small && policy_.keeps_small(name) ? find_small(name) : nullptr;
    if (kept == nullptr) return inner().read_range(name, offset, out);
    if (offset > kept->size() || out.size() > kept->size() - offset)
      return Error(Errc::Corruption, fmt::format("{} ends at {} bytes, before {} + {}", name, kept->size(), offset, out.size()));
    std::copy_n(kept->begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return ok();
  }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    if (!policy_.keeps(name)) return inner().read(name, limit);
    const auto newest = take_newest(name);
    auto kept = newest && newest->empty() ? std::nullopt : find(name);
    if (kept && newest && !has_md5(*kept, *newest)) kept.reset();
    if (kept) {
      if (kept->size() <= limit) return std::optional(std::move(*kept));
      return Error(Errc::ResourceLimit, fmt::format("{} is {} bytes, more than {}", name, kept->size(), limit));
    }
    auto read = inner().read(name, limit);
    if (read && *read) keep(name, **read);
    if (read && !*read) drop(name);
    return read;
  }
  Result<std::optional<BlobFront>> read_front(const std::string& name, std::size_t length) override {
    if (!policy_.keeps_front || !policy_.keeps_front(name)) return inner().read_front(name, length);
    const auto listed = find_listed(name);
    if (listed)
      if (auto kept = find_front(name, length); kept && kept->of == *listed) return std::optional(std::move(kept->front));
    auto read = inner().read_front(name, length);
    if (listed && read && *read && (*read)->size == listed->size) keep_front(name, *listed, (*read)->bytes);
    return read;
  }
  Result<std::optional<BlobFront>> read_front_or_copy(const std::string& name, std::size_t length) override {
    if (policy_.keeps_front && policy_.keeps_front(name)) {
      const auto listed = find_listed(name);
      if (auto kept = find_front(name, length); kept && (!listed || kept->of == *listed)) return std::optional(std::move(kept->front));
    }
    return read_front(name, length);
  }
  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const BlobInfo&)>& visit) override {
    std::string newest, etag;
    auto listed = inner().list(prefix, after, [&](const BlobInfo& info) {
      newest = info.name;
      etag = info.etag;
      note_listed(info);
      return visit(info);
    });
    if (!newest.empty() && policy_.keeps(newest)) {
      const std::lock_guard lock(mutex_);
      newest_[std::move(newest)] = is_md5(etag) ? etag : std::string();
    }
    return listed;
  }
  Status remove(const std::string& name) override {
    drop(name);
    return inner().remove(name);
  }
  Status remove_all(std::span<const std::string> names) override {
    for (const auto& name : names) drop(name);
    return inner().remove_all(names);
  }
  Result<std::vector<std::string>> remove_unlocked(std::span<const std::string> names) override {
    for (const auto& name : names) drop(name);
    return inner().remove_unlocked(names);
  }

 private:
  /// Which content of a name it is.
  struct Content {
    std::uint64_t size = 0;
    std::string etag;
    bool operator==(const Content&) const = default;
  };
  struct KeptFront {
    Content of;
    BlobFront front;
  };
  static constexpr std::string_view kFrontOf = "front of ";
  static std::string front_name(const std::string& name) { return fmt::format("{}{}", kFrontOf, name); }

  /// "size etag", a line, and the bytes.
  void keep_front(const std::string& name, const Content& of, ByteView front) {
    if (of.etag.empty() || of.etag.find('\n') != std::string::npos) return;
    const auto head = fmt::format("{} {}\n", of.size, of.etag);
    Bytes copy;
    append(copy, as_bytes(head));
    append(copy, front);
    keep_as(front_name(name), copy);
  }

  /// Of `length` bytes, or of the whole object where that is shorter.
  std::optional<KeptFront> find_front(const std::string& name, std::size_t length) {
    const auto copy = find(front_name(name));
    if (!copy) return std::nullopt;
    const auto text = as_text(*copy);
    const auto end = text.find('\n'), space = text.find(' ');
    KeptFront kept;
    if (end == std::string_view::npos || space > end || std::from_chars(text.data(), text.data() + space, kept.of.size).ptr != text.data() + space) return std::nullopt;
    kept.of.etag = text.substr(space + 1, end - space - 1);
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(length, kept.of.size));
    const auto bytes = ByteView(*copy).subspan(end + 1);
    if (bytes.size() < wanted) return std::nullopt;
    kept.front = {kept.of.size, Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(wanted))};
    return kept;
  }

  /// Once for each listing that ended at this name: its etag, empty when that says nothing.
  std::optional<std::string> take_newest(const std::string& name) {
    const std::lock_guard lock(mutex_);
    const auto found = newest_.extract(name);
    return found ? std::optional(found.mapped()) : std::nullopt;
  }

  void note_listed(const BlobInfo& info) {
    if (!policy_.keeps_front || info.etag.empty() || !policy_.keeps_front(info.name)) return;
    const std::lock_guard lock(mutex_);
    if (listed_.size() >= kListedMax) listed_.clear();
    listed_[info.name] = {info.size, info.etag};
  }
  std::optional<Content> find_listed(const std::string& name) {
    const std::lock_guard lock(mutex_);
    const auto found = listed_.find(name);
    return found == listed_.end() ? std::nullopt : std::optional(found->second);
  }

  /// Below a part of its own for each repository and kind: a directory of a hundred thousand files is slow on some file systems.
  fs::path path_of(const std::string& name) const {
    const auto id = to_hex(digest_of(place_, name, {}));
    const auto below = name.starts_with(kFrontOf) ? directory_ / kFronts : directory_;
    return below / id.substr(0, 2) / id.substr(2, 38);
  }

  std::optional<Bytes> find(const std::string& name) {
    const auto path = path_of(name);
    auto copy = read_file(path, policy_.object_max + kDigestSize);
    if (!copy) return std::nullopt;
    if (copy->size() < kDigestSize) return std::nullopt;
    const auto data = ByteView(*copy).subspan(kDigestSize);
    if (!std::ranges::equal(digest_of(place_, name, data), ByteView(*copy).first(kDigestSize))) {
      log_debug("the kept copy of {} is damaged: reading it anew", name);
      ::unlink(path.c_str());
      return std::nullopt;
    }
    touch(path);
    copy->erase(copy->begin(), copy->begin() + static_cast<std::ptrdiff_t>(kDigestSize));
    return std::move(*copy);
  }

  /// Read from front to end once, and not for each of many short reads.
  std::shared_ptr<const Bytes> find_small(const std::string& name) {
    const auto path = path_of(name);
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0 || clock_.now() - TimePoint(std::chrono::seconds(status.st_mtime)) > kSmallStays) return nullptr;
    {
      const std::lock_guard lock(mutex_);
      const auto at = std::ranges::find(in_memory_, name, &std::pair<std::string, std::shared_ptr<const Bytes>>::first);
      if (at != in_memory_.end()) {
        std::rotate(in_memory_.begin(), at, at + 1);
        return in_memory_.front().second;
      }
    }
    auto found = find(name);
    if (!found) return nullptr;
    auto kept = std::make_shared<const Bytes>(std::move(*found));
    const std::lock_guard lock(mutex_);
    if (in_memory_.size() == kInMemory) in_memory_.pop_back();
    in_memory_.insert(in_memory_.begin(), {name, kept});
    return kept;
  }

  void touch(const fs::path& path) {
    if (is_older_than(path, kTouchedAfter)) ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  }

  /// Of what is not there: no.
  bool is_older_than(const fs::path& path, std::chrono::microseconds age) const {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && clock_.now() - TimePoint(std::chrono::seconds(status.st_mtime)) > age;
  }

  void keep(const std::string& name, ByteView data) {
    if (data.size() <= policy_.object_max && policy_.keeps(name)) keep_as(name, data);
  }

  void keep_as(const std::string& name, ByteView data) {
    const auto path = path_of(name);
    Bytes copy;
    append(copy, digest_of(place_, name, data));
    append(copy, data);
    if (auto written = write(path, copy); !written) log_debug("no copy of {} is kept: {}", name, written.failure().describe());
    // By chance of the name as well: a process that keeps one copy, and ends, would never come to the count.
    if (++kept_ % kKeptBeforePruning == 0 || path.parent_path().filename() == kPartThatPrunes) prune();
  }

  /// Not made durable: what a crash leaves half is told by its digest.
  Status write(const fs::path& path, ByteView data) {
    TRY(create_directories(path.parent_path(), 0700));
    const auto temporary = path.parent_path() / fmt::format(".{}-{}", ::getpid(), kept_.load());
    {
      const auto fd = TRY(open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
      if (auto written = write_all(fd, data, temporary.string()); !written) {
        ::unlink(temporary.c_str());
        return written;
      }
    }
    if (::rename(temporary.c_str(), path.c_str()) == 0) return ok();
    const int reason = errno;
    ::unlink(temporary.c_str());
    return errno_error(reason, path.string());
  }

  void drop(const std::string& name) {
    if (policy_.keeps_front && policy_.keeps_front(name)) ::unlink(path_of(front_name(name)).c_str());
    {
      const std::lock_guard lock(mutex_);
      std::erase_if(in_memory_, [&](const auto& one) { return one.first == name; });
    }
    if (policy_.keeps(name) || (policy_.keeps_small && policy_.keeps_small(name))) ::unlink(path_of(name).c_str());
  }

  void prune() {
    std::error_code failed;
    Copies fronts, others;
    for (auto it = fs::recursive_directory_iterator(directory_, failed); !failed && it != fs::recursive_directory_iterator(); it.increment(failed)) {
      std::error_code gone;
      if (!it->is_regular_file(gone) || gone) continue;
      Copy copy{it->path(), it->file_size(gone), it->last_write_time(gone)};
      if (gone) continue;
      (copy.path.parent_path().parent_path().filename() == kFronts ? fronts : others).add(std::move(copy));
    }
    // Where much WAL is stored, its fronts must not drive out what each command reads.
    fronts.shrink_to(policy_.size_max / 4);
    others.shrink_to(policy_.size_max / 4 * 3);
  }

  struct Copy {
    fs::path path;
    std::uint64_t size;
    fs::file_time_type used;
  };
  struct Copies {
    std::vector<Copy> all;
    std::uint64_t size = 0;

    void add(Copy copy) {
      size += copy.size;
      all.push_back(std::move(copy));
    }
    /// Above `max`, down to three quarters of it.
    void shrink_to(std::uint64_t max) {
      if (size <= max) return;
      std::ranges::sort(all, {}, &Copy::used);
      for (const auto& copy : all) {
        if (size <= max / 4 * 3) break;
        if (::unlink(copy.path.c_str()) == 0) size -= copy.size;
      }
    }
  };

  const std::string place_;
  const fs::path directory_;
  const CachePolicy policy_;
  Clock& clock_;
  std::atomic<int> kept_{0};
  std::mutex mutex_;
  std::map<std::string, std::string> newest_;  ///< the last names of listings, with their etag where it is an MD5
  std::unordered_map<std::string, Content> listed_;
  std::vector<std::pair<std::string, std::shared_ptr<const Bytes>>> in_memory_;  ///< the most recently read first
};

}  // namespace

std::unique_ptr<BlobStore> make_cache_store(std::unique_ptr<BlobStore> inner, std::filesystem::path directory, CachePolicy policy, Clock& clock) {
  return std::make_unique<CacheStore>(std::move(inner), std::move(directory), std::move(policy), clock);
}

}  // namespace pgmint::storage
