#include "repository/undelete.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/task_group.h"
#include "repository/layout.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

using storage::ObjectVersion;
using storage::ObjectVersions;

constexpr std::size_t kWorkers = 8;
constexpr std::size_t kJudgedAtOnce = 1024;  ///< names whose versions are in memory
/// Two versions of one length whose etags differ (a store that encrypts gives each its own) are compared up to here.
constexpr std::uint64_t kComparedMax = 64 << 20;

/// The part of a cluster that a name is in: "log", "p"; "" of what is in none.
std::string_view part_of(const std::string& name) {
  constexpr std::size_t kPrefix = 2 + 32 + 1;
  if (!name.starts_with(kClustersPrefix) || name.size() <= kPrefix) return {};
  const auto rest = std::string_view(name).substr(kPrefix);
  return rest.substr(0, rest.find('/'));
}

/// What an object of that name is; nullopt: it bears no header of ours.
std::optional<ObjectKind> kind_of(const std::string& name) {
  if (name == kFormatName) return ObjectKind::Format;
  if (name.starts_with(kKeysPrefix)) return ObjectKind::KeySlot;
  if (parse_log_entry_name(name)) return ObjectKind::LogEntry;
  const auto part = part_of(name);
  if (part == "keyring") return ObjectKind::KeyRing;
  if (part == "snap") return ObjectKind::ManifestRoot;
  if (part == "p") return ObjectKind::Pack;
  if (part == "wal") return ObjectKind::Wal;
  if (name.starts_with(kMarksPrefix)) return ObjectKind::MirrorMark;
  return std::nullopt;
}

/// Keys first: with them what follows can be read, should it be cut off.
int order_of(const std::string& name) {
  if (name == kFormatName || name.starts_with(kKeysPrefix) || part_of(name) == "keyring") return 0;
  return part_of(name) == "log" ? 1 : 2;
}

/// What became of one name.
struct Verdict {
  std::optional<LostObject> lost;
  bool beyond_help = false;
};

class Survey {
 public:
  Survey(ObjectVersions& versions, const UndeleteOptions& options) : versions_(versions), options_(options) {}

  Result<UndeletePlan> run() {
    TRY(find_repository());
    bool ended = false;
    const Error enough(Errc::Cancelled, "enough");
    auto listed = versions_.list("", "", [&](const ObjectVersion& version) -> Status {
      if (options_.cancel != nullptr) TRY(options_.cancel->check());
      if (!of_name_.empty() && of_name_.front().name != version.name) TRY(end_name());
      if (plan_.versions == options_.versions_max) {
        ended = true;
        plan_.whole = false;
        return enough;
      }
      ++plan_.versions;
      if (options_.progress) options_.progress(plan_.versions);
      if (!version.latest || version.marker) {
        ++plan_.old_versions;
        plan_.old_bytes += version.size;
      }
      of_name_.push_back(version);
      return ok();
    });
    if (!ended) TRY(std::move(listed));
    if (!ended && !of_name_.empty()) TRY(end_name());
    TRY(judge_all());
    std::ranges::stable_sort(plan_.objects, {}, [](const LostObject& object) { return order_of(object.name); });
    return std::move(plan_);
  }

 private:
  using Versions = std::vector<ObjectVersion>;  ///< of one name, newest first

  /// Which repository this is, by the first `format` that was written.
  Status find_repository() {
    std::vector<std::string> ids;
    TRY(versions_.list(std::string(kFormatName), "", [&](const ObjectVersion& version) -> Status {
      if (version.name == kFormatName && !version.marker) ids.push_back(version.id);
      return ok();
    }));
    for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
      const auto front = TRY(versions_.read_front(std::string(kFormatName), *id, kHeaderSize));
      if (!front) continue;
      if (const auto header = parse_header(*front, ObjectKind::Format)) {
        repository_ = header->repository;
        return ok();
      }
    }
    return Error(Errc::Precondition, "no version of `format` is there that a repository has written", Hint{"is it the right bucket and prefix? repository in the configuration"});
  }

  /// Of most names nothing has to be read: one version, and it is what is read.
  Status end_name() {
    auto all = std::exchange(of_name_, {});
    const auto& name = all.front().name;
    const bool ours = name == kFormatName || name.starts_with(kKeysPrefix) || name.starts_with(kClustersPrefix) || name.starts_with(kMarksPrefix);
    if (!ours || all.size() == 1) return ok();  // a probe's, or somebody else's; one version, or one marker before what was removed for good
    waiting_.push_back(std::move(all));
    return waiting_.size() < kJudgedAtOnce ? ok() : judge_all();
  }

  Status judge_all() {
    std::vector<Verdict> verdicts(waiting_.size());
    std::atomic<std::size_t> next{0};
    TaskGroup judges(options_.cancel);
    for (std::size_t i = 0; i < std::min(kWorkers, waiting_.size()); ++i)
      judges.spawn([&]() -> Status {
        for (auto at = next++; at < waiting_.size(); at = next++) {
          TRY(judges.check());
          verdicts[at] = TRY(judge(waiting_[at]));
        }
        return ok();
      });
    TRY(judges.join());
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
      if (verdicts[i].beyond_help) plan_.beyond_help.push_back(waiting_[i].front().name);
      if (!verdicts[i].lost) continue;
      plan_.bytes += verdicts[i].lost->size;
      plan_.objects.push_back(std::move(*verdicts[i].lost));
    }
    waiting_.clear();
    return ok();
  }

  Result<Verdict> judge(const Versions& all) {
    const auto& now = all.front();
    LostObject lost{now.name, "", 0, !now.marker, now.modified};
    if (now.marker)  // several may stand upon each other: it went with the first of them
      for (const auto& each : all) {
        if (!each.marker) break;
        lost.when = each.modified;
      }
    const bool was_written = std::ranges::any_of(all, [](const auto& each) { return !each.marker; });
    if (!was_written || (options_.since && lost.when < *options_.since)) return Verdict{};
    const auto* first = TRY(first_of_ours(all));
    if (first == nullptr) return Verdict{{}, true};
    if (!now.marker && TRY(same_bytes(*first, now))) return Verdict{};
    lost.version = first->id;
    lost.size = first->size;
    return Verdict{std::move(lost), false};
  }

  /// nullptr: none bears this repository's header.
  Result<const ObjectVersion*> first_of_ours(const Versions& all) {
    for (auto each = all.rbegin(); each != all.rend(); ++each)
      if (!each->marker && TRY(bears_our_header(*each))) return &*each;
    return static_cast<const ObjectVersion*>(nullptr);
  }

  Result<bool> bears_our_header(const ObjectVersion& version) {
    const auto kind = kind_of(version.name);
    if (!kind) return true;
    const auto front = TRY(versions_.read_front(version.name, version.id, kHeaderSize));
    if (!front) return false;
    const auto header = parse_header(*front, *kind);
    return header && header->repository == repository_;
  }

  Result<bool> same_bytes(const ObjectVersion& a, const ObjectVersion& b) {
    if (a.id == b.id) return true;
    if (a.size != b.size) return false;
    if (!a.etag.empty() && a.etag == b.etag) return true;
    if (a.size == 0) return true;
    if (a.size > kComparedMax) return false;
    const auto size = static_cast<std::size_t>(a.size);
    const auto left = TRY(versions_.read_front(a.name, a.id, size)), right = TRY(versions_.read_front(b.name, b.id, size));
    return left && right && *left == *right;
  }

  ObjectVersions& versions_;
  const UndeleteOptions& options_;
  RepositoryId repository_{};
  UndeletePlan plan_;
  Versions of_name_;
  std::vector<Versions> waiting_;  ///< to be judged
};

}  // namespace

bool is_never_removed(const std::string& name) {
  const auto part = part_of(name);
  return name == kFormatName || part == "keyring" || part == "log";
}

Result<UndeletePlan> plan_undelete(ObjectVersions& versions, const UndeleteOptions& options) { return Survey(versions, options).run(); }

Status undelete(ObjectVersions& versions, const UndeletePlan& plan, const CancelToken& cancel, const std::function<void(std::uint64_t bytes)>& progress) {
  std::mutex telling;
  std::uint64_t done = 0;
  // One kind after the other: what is to be read first is there first.
  for (std::size_t begin = 0; begin < plan.objects.size();) {
    std::size_t end = begin;
    while (end < plan.objects.size() && order_of(plan.objects[end].name) == order_of(plan.objects[begin].name)) ++end;
    std::atomic<std::size_t> next{begin};
    TaskGroup workers(&cancel);
    for (std::size_t i = 0; i < std::min(kWorkers, end - begin); ++i)
      workers.spawn([&]() -> Status {
        for (auto at = next++; at < end; at = next++) {
          TRY(workers.check());
          TRY(versions.bring_back(plan.objects[at].name, plan.objects[at].version));
          const std::lock_guard lock(telling);
          done += plan.objects[at].size;
          if (progress) progress(done);
        }
        return ok();
      });
    TRY(workers.join());
    begin = end;
  }
  return ok();
}

}  // namespace pgmint::repository
