#include "repository/mirror_check.h"

#include <fmt/format.h>

#include "repository/format_file.h"
#include "repository/layout.h"
#include "repository/mirror_survey.h"
#include "repository/object_copy.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kFormatMax = 64 << 10;

class Check {
 public:
  Check(storage::BlobStore& source, storage::BlobStore& mirror, bool read_data, const ReplicateOptions& options)
      : source_(source), mirror_(mirror), options_(options), copy_(source, mirror, options) {
    check_.read_data = read_data;
  }

  Result<MirrorCheck> run() {
    const auto format = TRY(source_.read(std::string(kFormatName), kFormatMax).context("source"));
    if (!format) return Error(Errc::Precondition, fmt::format("there is no repository in {}", source_.describe()), Hint{"check `repository` in the configuration"});
    const auto stored = TRY(newest_mark(mirror_, TRY(peek_repository_id(*format).context("source: format"))).context("mirror"));
    if (!stored) return Error(Errc::Precondition, fmt::format("{} is no mirror", mirror_.describe()), Hint{"pgmint replicate makes it one"});
    check_.as_of = stored->mark.as_of();
    TRY(hold("format"));
    TRY(hold(std::string(kKeysPrefix)));
    for (const auto& part : TRY(source_.list_parts(std::string(kClustersPrefix)).context("source"))) {
      const auto id = ClusterId::parse(part);
      if (!id) continue;
      for (const auto* kind : {"keyring/", "log/", "p/", "snap/", "wal/"}) TRY(hold(cluster_prefix(*id) + kind));
      if (const auto found = stored->mark.clusters.find(*id); found != stored->mark.clusters.end()) TRY(check_log(*id, found->second));
    }
    return std::move(check_);
  }

 private:
  Result<std::vector<storage::BlobInfo>> listed(storage::BlobStore& store, const std::string& prefix) {
    std::vector<storage::BlobInfo> all;
    TRY(store.list(prefix, "", [&](const storage::BlobInfo& info) -> Status {
      all.push_back(info);
      return ok();
    }));
    return all;
  }

  Status hold(const std::string& prefix) {
    TRY(copy_.check());
    copy_.tell("compare", prefix);
    // The mirror first: whatever it has that is at the source was there before.
    const auto ours = TRY(listed(mirror_, prefix).context("mirror")), theirs = TRY(listed(source_, prefix).context("source"));
    const auto compared = compare(theirs, ours);
    for (const auto& info : compared.missing) check_.missing.push_back(info.name);
    for (const auto& info : compared.vanished) check_.vanished.add(info.size);
    check_.differing.insert(check_.differing.end(), compared.differing.begin(), compared.differing.end());
    std::size_t missing = 0;
    for (const auto& info : theirs) {
      if (missing < compared.missing.size() && compared.missing[missing].name == info.name) {
        ++missing;
        continue;
      }
      check_.compared.add(info.size);
      if (check_.read_data) TRY(hold_bytes(info));
    }
    return ok();
  }

  Status hold_bytes(const storage::BlobInfo& info) {
    TRY(copy_.check());
    if (options_.limiter != nullptr) TRY(options_.limiter->take(info.size));
    copy_.tell("compare", info.name);
    const auto there = TRY(mirror_.stat(info.name).context("mirror"));
    if (!there || there->size != info.size) return ok();  // told by its size
    auto same = same_bytes(source_, mirror_, info.name, info.size);
    if (!same && same.failure().code() == Errc::NotFound) return ok();  // collected meanwhile
    if (!TRY(std::move(same).context(info.name))) check_.differing.push_back(info.name);
    return ok();
  }

  Status check_log(const ClusterId& id, const MirroredCluster& cluster) {
    LogHeads counted;
    for (const auto& [generation, log] : cluster.logs) counted.entries[generation] = log.entries;
    const auto there = TRY(log_heads(mirror_, id, nullptr).context("mirror"));
    for (const auto& [generation, entries] : counted.entries) {
      const auto found = there.entries.find(generation);
      if (const auto have = found == there.entries.end() ? 0 : found->second; have < entries) check_.lost.push_back(log_entry_name(id, generation, have));
    }
    return ok();
  }

  storage::BlobStore& source_;
  storage::BlobStore& mirror_;
  const ReplicateOptions& options_;
  ObjectCopy copy_;
  MirrorCheck check_;
};

}  // namespace

Result<MirrorCheck> check_mirror(storage::BlobStore& source, storage::BlobStore& mirror, bool read_data, const ReplicateOptions& options) {
  return Check(source, mirror, read_data, options).run();
}

}  // namespace pgmint::repository
