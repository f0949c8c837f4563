#include "cli/bucket_checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "cli/output.h"
#include "cli/store_probe.h"
#include "repository/undelete.h"
#include "storage/retry_versions.h"

namespace pgmint::cli {
namespace {

using storage::S3Finding;
using Grade = S3Finding::Grade;

/// Of more a look takes minutes: 200 requests.
constexpr std::uint64_t kVersionsLookedAt = 200'000;
constexpr const char* kUndelete = "pgmint repair --undelete shows what would come back, and brings it back with --yes";

S3Finding tampering(const repository::UndeletePlan& plan) {
  const auto shown = [](const repository::LostObject& object) { return fmt::format("{} since {}", object.name, format_rfc3339(object.when)); };
  const repository::LostObject *hidden = nullptr, *overwritten = nullptr;
  std::size_t hidden_count = 0, overwritten_count = 0;
  for (const auto& object : plan.objects) {
    if (object.overwritten) {
      ++overwritten_count;
      if (overwritten == nullptr) overwritten = &object;
    } else if (repository::is_never_removed(object.name)) {
      ++hidden_count;
      if (hidden == nullptr) hidden = &object;
    }
  }
  if (hidden != nullptr) return {Grade::Bad, "deleted objects", fmt::format("{} that pgmint never removes were deleted, first {}", counted(hidden_count, "object"), shown(*hidden)), kUndelete};
  if (overwritten != nullptr) return {Grade::Bad, "deleted objects", fmt::format("{} were overwritten, which pgmint never does, first {}", counted(overwritten_count, "object"), shown(*overwritten)), kUndelete};
  return {Grade::Fine, "deleted objects", plan.whole ? "nothing that pgmint never removes" : fmt::format("nothing that pgmint never removes among the first {} versions", kVersionsLookedAt), ""};
}

Result<std::vector<S3Finding>> examine_versions(storage::S3Store& bucket, const CancelToken& cancel) {
  repository::UndeleteOptions options;
  options.versions_max = kVersionsLookedAt;
  options.cancel = &cancel;
  const auto versions = storage::make_retry_versions(bucket.versions(), {}, system_clock(), system_random(), &cancel);
  const auto plan = repository::plan_undelete(*versions, options);
  if (!plan && (is_transient(plan.failure().code()) || plan.failure().code() == Errc::Cancelled)) return plan.failure();
  if (!plan)
    return std::vector<S3Finding>{{Grade::Warning, "old versions", fmt::format("not known: {}", plan.failure().describe()), "let these credentials list versions (s3:ListBucketVersions), or look yourself"}};
  const auto size = human(ByteCount(plan->old_bytes));
  return std::vector<S3Finding>{
      {Grade::Fine, "old versions", plan->whole ? fmt::format("{} ({}) that are paid for and not read", plan->old_versions, size) : fmt::format("at least {} ({}) that are paid for and not read", plan->old_versions, size), ""},
      tampering(*plan)};
}

/// Tried with an object of the probe's.
Result<S3Finding> examine_removal(storage::S3Store& bucket) {
  const std::string prefix(kProbePrefix);
  ByteArray<16> unique{};
  system_random().fill(unique);
  const auto name = fmt::format("{}{}-version", prefix, to_hex(unique));
  const S3Finding may{Grade::Fine, "removal of versions", "allowed: collect frees what it removes. On the database's host that is more than it needs (pgmint policy aws --role writer)", ""};
  const S3Finding may_not{Grade::Fine, "removal of versions", "not allowed: what is removed with these credentials stays as an old version", ""};
  if (auto made = bucket.create(name, as_bytes("probe")); !made) return made.failure();
  std::vector<storage::ObjectVersion> versions;
  const auto listed = bucket.versions().list(name, "", [&](const storage::ObjectVersion& version) -> Status {
    versions.push_back(version);
    return ok();
  });
  if (!listed && listed.failure().code() != Errc::Key) return listed.failure();
  if (listed)
    if (const auto refused = TRY(bucket.versions().remove(versions)); refused.empty()) return may;
  if (auto removed = bucket.remove(name); !removed && is_transient(removed.failure().code())) return removed.failure();
  return may_not;
}

}  // namespace

Result<std::vector<S3Finding>> examine_bucket(storage::S3Store& bucket, bool may_write, const CancelToken& cancel) {
  auto findings = TRY(bucket.examine());
  const auto versioned = bucket.is_versioned();
  if (!versioned && is_transient(versioned.failure().code())) return versioned.failure();
  if (!versioned || !*versioned) return findings;
  for (auto& finding : TRY(examine_versions(bucket, cancel))) findings.push_back(std::move(finding));
  if (!may_write) return findings;
  auto removal = examine_removal(bucket);
  if (removal) findings.push_back(std::move(*removal));
  else if (is_transient(removal.failure().code())) return removal.failure();
  else findings.push_back({Grade::Warning, "removal of versions", fmt::format("not known: {}", removal.failure().describe()), "let these credentials create and remove below probe/"});
  return findings;
}

Error explain_failed_race(Error error, storage::S3Store* bucket) {
  if (bucket == nullptr) return error;
  const auto versioned = bucket->is_versioned();
  if (!versioned) return error;
  if (*versioned)
    return std::move(error).with_context("the bucket keeps versions").with_hint(
        Hint{"such a bucket of this store cannot hold a repository: with versioning or object lock on it does not decide who creates an object (RGW 16 does not). Keep the log in a second bucket without them (log_url, pgmint init --help), name a bucket without them, or use a newer store"});
  return std::move(error).with_context("the bucket has no versioning").with_hint(Hint{"this store never decides who creates an object: it can only hold a mirror with one writer ([[mirror]], one_writer)"});
}

}  // namespace pgmint::cli
