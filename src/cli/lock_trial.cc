#include "cli/lock_trial.h"

#include <fmt/format.h>

#include "base/random.h"
#include "base/units.h"
#include "cli/store_probe.h"
#include "storage/interruptible_sleep.h"

namespace pgmint::cli {
namespace {

using storage::ObjectVersion;
using storage::S3Finding;
using Grade = S3Finding::Grade;
using namespace std::chrono_literals;

constexpr auto kLockedFor = 8s;
/// The store tells its time by the second, and may have been asked a second ago.
constexpr auto kSurelyLocked = kLockedFor - 2s;
constexpr std::string_view kSuffix = "-lock";
constexpr const char* kSubject = "object lock, tried";

Result<std::vector<ObjectVersion>> versions_of(storage::S3Store& bucket, const std::string& prefix) {
  std::vector<ObjectVersion> found;
  TRY(bucket.versions().list(prefix, "", [&](const ObjectVersion& version) -> Status {
    if (version.name.ends_with(kSuffix)) found.push_back(version);
    return ok();
  }));
  return found;
}

S3Finding not_known(const Error& why) {
  return {Grade::Warning, kSubject, fmt::format("not known: {}", why.describe()), "let these credentials create below probe/, list versions, remove them there, and read locks (s3:GetObjectRetention)"};
}

class Trial {
 public:
  Trial(storage::S3Store& bucket, storage::LockMode mode, Clock& clock, const CancelToken& cancel) : bucket_(bucket), mode_(mode), clock_(clock), cancel_(cancel) {}

  Result<S3Finding> run() {
    // Of a trial that was cut off.
    if (const auto left = versions_of(bucket_, std::string(kProbePrefix)); left && !left->empty()) TRY(bucket_.versions().remove(*left));
    TRY(lock_one());
    const auto refused = TRY(bucket_.versions().remove(versions_));
    if (refused.empty()) return went();
    const bool bypassed = mode_ == storage::LockMode::Governance && TRY(bucket_.versions().remove_bypassing(versions_.front()));
    if (bypassed) return may_bypass();
    TRY(storage::interruptible_sleep(clock_, locked_at_ + kLockedFor + 2s - clock_.now(), &cancel_));
    // What is refused without a lock as well was not refused for it.
    const auto still = TRY(bucket_.versions().remove(versions_));
    if (!still.empty() && !still.front().locked) return S3Finding{Grade::Warning, kSubject, "not shown: these credentials may not remove versions at all", "try it with those of collect: pgmint doctor on the host of the role janitor"};
    return S3Finding{Grade::Fine, kSubject, fmt::format("an object that was locked ({}) could not be removed{}", lock_mode_name(mode_), mode_ == storage::LockMode::Governance ? ", and these credentials may not bypass that" : ""), ""};
  }

 private:
  Status lock_one() {
    ByteArray<16> unique{};
    system_random().fill(unique);
    const auto name = fmt::format("{}{}{}", kProbePrefix, to_hex(unique), kSuffix);
    locked_at_ = clock_.now();
    const auto until = bucket_.store_time().value_or(locked_at_) + kLockedFor;
    TRY(bucket_.create_locked(name, as_bytes("probe"), {mode_, until}));
    versions_ = TRY(versions_of(bucket_, name));
    if (versions_.empty()) return Error(Errc::Storage, "the store lists no version of what was just created");
    return ok();
  }

  Result<S3Finding> went() {
    if (clock_.now() - locked_at_ >= kSurelyLocked) return S3Finding{Grade::Warning, kSubject, "not known: the store answered so late that the lock had passed", "pgmint doctor once more, when it is less busy"};
    return S3Finding{Grade::Bad, kSubject, fmt::format("an object that was locked ({}) was removed all the same: the store's object lock protects nothing", lock_mode_name(mode_)),
                     "use another store, or do without: take object_lock out of the configuration"};
  }

  static Result<S3Finding> may_bypass() {
    return S3Finding{Grade::Warning, kSubject, "an object that was locked (GOVERNANCE) could not be removed, but these credentials may bypass that: so may whoever takes over this host",
                     "give them no s3:BypassGovernanceRetention (pgmint policy aws), or use object_lock = \"compliance\""};
  }

  storage::S3Store& bucket_;
  const storage::LockMode mode_;
  Clock& clock_;
  const CancelToken& cancel_;
  TimePoint locked_at_{};
  std::vector<ObjectVersion> versions_;
};

}  // namespace

Result<S3Finding> try_lock(storage::S3Store& bucket, storage::LockMode mode, Clock& clock, const CancelToken& cancel) {
  auto tried = Trial(bucket, mode, clock, cancel).run();
  if (tried || is_transient(tried.failure().code()) || tried.failure().code() == Errc::Cancelled) return tried;
  return not_known(tried.failure());
}

Status need_object_lock(storage::S3Store& bucket) {
  const auto takes = bucket.takes_locks();
  if (!takes) return Error(takes.failure()).with_context("object_lock is configured").with_hint(Hint{"let these credentials read the bucket's object lock (s3:GetBucketObjectLockConfiguration)"});
  if (*takes) return ok();
  return Error(Errc::Precondition, fmt::format("object_lock is configured, and the bucket of {} was made without object lock", bucket.describe()),
               Hint{"object lock is chosen when a bucket is made: name a new bucket, or take object_lock out of the configuration"});
}

}  // namespace pgmint::cli
