#include "storage/split_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace pgmint::storage {
namespace {

/// What is kept by both is small: formats and key rings.
constexpr std::uint64_t kBothMax = 64 << 20;

class SplitStore final : public BlobStore {
 public:
  SplitStore(std::unique_ptr<BlobStore> first, std::unique_ptr<BlobStore> second, SideRule rule)
      : first_(std::move(first)), second_(std::move(second)), rule_(std::move(rule)) {}

  Result<Created> create(const std::string& name, ByteView data) override {
    if (rule_.of_name(name) != Side::Both) return at(rule_.of_name(name)).create(name, data);
    const auto decided = TRY(second_->create(name, data));
    if (decided == Created::Yes) {
      TRY(keep_in_first(name, data));
      return decided;
    }
    // Whoever created it may have been cut off before the first had it.
    if (const auto content = TRY(second_->read(name, kBothMax))) TRY(keep_in_first(name, *content));
    return decided;
  }
  Result<Created> create_from(const std::string& name, const BlobStream& stream) override {
    const auto side = rule_.of_name(name);
    return side == Side::Both ? BlobStore::create_from(name, stream) : at(side).create_from(name, stream);
  }

  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    if (rule_.of_name(name) != Side::Both) return at(rule_.of_name(name)).read(name, limit);
    auto ours = TRY(first_->read(name, limit));
    auto decided = TRY(second_->read(name, limit));
    if (ours && decided && *ours != *decided) return disagreement(name);
    return ours ? std::move(ours) : std::move(decided);
  }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    if (rule_.of_name(name) != Side::Both) return at(rule_.of_name(name)).read_range(name, offset, out);
    auto got = first_->read_range(name, offset, out);
    return !got && got.failure().code() == Errc::NotFound ? second_->read_range(name, offset, out) : got;
  }
  Result<std::optional<BlobInfo>> stat(const std::string& name) override {
    if (rule_.of_name(name) != Side::Both) return at(rule_.of_name(name)).stat(name);
    auto info = TRY(first_->stat(name));
    return info ? std::move(info) : second_->stat(name);
  }
  Result<std::optional<BlobFront>> read_front(const std::string& name, std::size_t length) override {
    if (rule_.of_name(name) != Side::Both) return at(rule_.of_name(name)).read_front(name, length);
    auto front = TRY(first_->read_front(name, length));
    return front ? std::move(front) : second_->read_front(name, length);
  }

  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const BlobInfo&)>& visit) override {
    if (rule_.of_prefix(prefix) != Side::Both) return at(rule_.of_prefix(prefix)).list(prefix, after, visit);
    // The second holds little beside the first: logs and what both keep.
    std::vector<BlobInfo> others;
    TRY(second_->list(prefix, after, [&](const BlobInfo& info) -> Status {
      others.push_back(info);
      return ok();
    }));
    auto other = others.begin();
    TRY(first_->list(prefix, after, [&](const BlobInfo& info) -> Status {
      for (; other != others.end() && other->name < info.name; ++other) TRY(visit(*other));
      if (other != others.end() && other->name == info.name) ++other;
      return visit(info);
    }));
    for (; other != others.end(); ++other) TRY(visit(*other));
    return ok();
  }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override {
    if (rule_.of_prefix(prefix) != Side::Both) return at(rule_.of_prefix(prefix)).list_parts(prefix);
    std::set<std::string> parts;
    for (auto* store : {first_.get(), second_.get()})
      for (auto& part : TRY(store->list_parts(prefix))) parts.insert(std::move(part));
    return std::vector<std::string>(parts.begin(), parts.end());
  }

  std::string take_created_etag(const std::string& name) override {
    return rule_.of_name(name) == Side::Both ? std::string() : at(rule_.of_name(name)).take_created_etag(name);
  }

  Status remove(const std::string& name) override {
    const auto side = rule_.of_name(name);
    // The one that decides goes last: until then nobody creates it anew beside what is left.
    if (side != Side::Second) TRY(first_->remove(name));
    return side != Side::First ? second_->remove(name) : ok();
  }
  Status remove_all(std::span<const std::string> names) override {
    const auto [ours, theirs] = divided(names);
    TRY(first_->remove_all(ours));
    return theirs.empty() ? ok() : second_->remove_all(theirs);
  }
  Result<std::vector<std::string>> remove_unlocked(std::span<const std::string> names) override {
    const auto [ours, theirs] = divided(names);
    auto locked = TRY(first_->remove_unlocked(ours));
    if (theirs.empty()) return locked;
    std::vector<std::string> free;
    std::ranges::copy_if(theirs, std::back_inserter(free), [&](const auto& name) { return std::ranges::find(locked, name) == locked.end(); });
    for (auto& name : TRY(second_->remove_unlocked(free))) locked.push_back(std::move(name));
    return locked;
  }

  std::optional<TimePoint> store_time() override { return first_->store_time(); }
  std::string describe() const override { return first_->describe(); }

 private:
  BlobStore& at(Side side) { return side == Side::Second ? *second_ : *first_; }

  Error disagreement(const std::string& name) {
    return Error(Errc::Corruption, fmt::format("{} is not the same in {} and in {}", name, first_->describe(), second_->describe()),
                 Hint{"do both belong to one repository? compare repository and log_url with those of the host that made it"});
  }

  Status keep_in_first(const std::string& name, ByteView content) {
    if (TRY(first_->create(name, content)) == Created::Yes) return ok();
    const auto there = TRY(first_->read(name, kBothMax));
    if (!there || ByteView(*there).size() != content.size() || !std::ranges::equal(*there, content)) return disagreement(name);
    return ok();
  }

  std::pair<std::vector<std::string>, std::vector<std::string>> divided(std::span<const std::string> names) const {
    std::vector<std::string> ours, theirs;
    for (const auto& name : names) {
      const auto side = rule_.of_name(name);
      if (side != Side::Second) ours.push_back(name);
      if (side != Side::First) theirs.push_back(name);
    }
    return {std::move(ours), std::move(theirs)};
  }

  const std::unique_ptr<BlobStore> first_, second_;
  const SideRule rule_;
};

}  // namespace

std::unique_ptr<BlobStore> make_split_store(std::unique_ptr<BlobStore> first, std::unique_ptr<BlobStore> second, SideRule rule) {
  return std::make_unique<SplitStore>(std::move(first), std::move(second), std::move(rule));
}

}  // namespace pgmint::storage
