// SeenMemory on files: one line each, replaced durably.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <mutex>

#include "base/file.h"
#include "repository/log.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kMagic = "PGMINT-SEEN-1";
constexpr std::uint64_t kFileMax = 4096;

class FileSeenMemory final : public SeenMemory {
 public:
  explicit FileSeenMemory(fs::path directory) : directory_(std::move(directory)) {}

  Result<std::optional<Head>> load(const RepositoryId& repository, const ClusterId& cluster) override {
    std::lock_guard lock(mutex_);
    return load_locked(path_of(repository, cluster));
  }

  Status store(const RepositoryId& repository, const ClusterId& cluster, const Head& head) override {
    std::lock_guard lock(mutex_);
    const auto path = path_of(repository, cluster);
    // Another process may have seen more; what is remembered never goes back.
    const auto before = TRY(load_locked(path));
    if (before && std::tie(before->generation, before->seq) >= std::tie(head.generation, head.seq)) return ok();
    TRY(create_directories(directory_, 0700));
    const auto line = fmt::format("{} {} {} {}\n", kMagic, head.generation, head.seq, to_hex(head.hash));
    return write_file_durably(path, as_bytes(line), 0600);
  }

  Result<std::vector<ClusterId>> clusters(const RepositoryId& repository) override {
    const auto prefix = fmt::format("seen-{}-", repository.hex());
    std::vector<ClusterId> found;
    std::error_code error;
    for (fs::directory_iterator at(directory_, error), end; !error && at != end; at.increment(error)) {
      const auto name = at->path().filename().string();
      if (!name.starts_with(prefix)) continue;
      if (auto id = ClusterId::parse(std::string_view(name).substr(prefix.size()))) found.push_back(*id);
    }
    if (error && error != std::errc::no_such_file_or_directory) return errno_error(error.value(), fmt::format("list {}", directory_.string()));
    std::ranges::sort(found);
    return found;
  }

 private:
  fs::path path_of(const RepositoryId& repository, const ClusterId& cluster) const {
    return directory_ / fmt::format("seen-{}-{}", repository.hex(), cluster.hex());
  }

  static Result<std::optional<Head>> load_locked(const fs::path& path) {
    auto text = read_text_file(path, kFileMax);
    if (!text && text.failure().code() == Errc::NotFound) return std::optional<Head>();
    if (!text) return std::move(text).failure();
    auto head = parse(*text);
    if (!head)
      return Error(Errc::Corruption, fmt::format("{} does not hold what was last seen of a log", path.string()),
                   Hint{fmt::format("remove it; the next command writes it anew: rm {}", path.string())});
    return head;
  }

  static std::optional<Head> parse(std::string_view text) {
    const auto word = [&]() {
      const auto end = std::min(text.find_first_of(" \n"), text.size());
      const auto taken = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      return taken;
    };
    const auto number = [&](auto& value) {
      const auto digits = word();
      const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      return parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
    };
    Head head;
    if (word() != kMagic || !number(head.generation) || !number(head.seq)) return std::nullopt;
    const auto hash = from_hex(word());
    if (!hash || hash->size() != head.hash.size() || !text.empty()) return std::nullopt;
    std::copy(hash->begin(), hash->end(), head.hash.begin());
    return head;
  }

  const fs::path directory_;
  std::mutex mutex_;
};

class NoMemory final : public SeenMemory {
 public:
  Result<std::optional<Head>> load(const RepositoryId&, const ClusterId&) override { return std::optional<Head>(); }
  Status store(const RepositoryId&, const ClusterId&, const Head&) override { return ok(); }
};

}  // namespace

std::unique_ptr<SeenMemory> make_seen_memory(std::filesystem::path directory) {
  return std::make_unique<FileSeenMemory>(std::move(directory));
}
std::unique_ptr<SeenMemory> make_no_memory() { return std::make_unique<NoMemory>(); }

}  // namespace pgmint::repository
