#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/context.h"
#include "storage/s3_address.h"

namespace pgmint::cli {
namespace {

/// "arn:aws", or what it is called where AWS is another.
std::string_view partition_of(std::string_view region) {
  return region.starts_with("cn-") ? "arn:aws-cn" : region.starts_with("us-gov-") ? "arn:aws-us-gov" : "arn:aws";
}

/// A bucket, and what the names of its statements end in.
struct Place {
  storage::S3Address address;
  std::string_view of;
};

class Policy {
 public:
  explicit Policy(std::string_view region) : arn_(partition_of(region)) {}

  void allow(const Place& place, std::string_view id, std::vector<std::string> actions, const std::vector<std::string>& names) {
    Json resources = Json::array();
    for (const auto& name : names) resources.push_back(fmt::format("{}:s3:::{}/{}", arn_, place.address.bucket(), place.address.key(name)));
    add(place, id, std::move(actions), std::move(resources));
  }
  /// Of the names below our prefix alone. Without it S3 does not tell an absent object from a forbidden one; it looks at this right also when an object is
  /// asked for that is absent, and then there is no prefix to hold against the condition.
  void allow_listing(const Place& place) {
    add(place, "ListOwnNames", {"s3:ListBucket"}, {bucket(place)});
    const auto& prefix = place.address.prefix();
    if (!prefix.empty()) statements_.back()["Condition"] = {{"StringLikeIfExists", {{"s3:prefix", {prefix + "*"}}}}};
  }
  void allow_looking_at_settings(const Place& place) {
    add(place, "LookAtSettings", {"s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetLifecycleConfiguration", "s3:ListBucketVersions"}, {bucket(place)});
  }
  void allow_key(const std::string& key, std::vector<std::string> actions) {
    statements_.push_back({{"Sid", "UseStoresKey"}, {"Effect", "Allow"}, {"Action", std::move(actions)}, {"Resource", {key.starts_with("arn:") ? key : fmt::format("{}:kms:*:*:key/{}", arn_, key)}}});
  }
  /// Whatever else may allow it, such as being the object's owner (RGW 16).
  void deny(const Place& place, std::string_view id, std::vector<std::string> actions, const std::vector<std::string>& names) {
    allow(place, id, std::move(actions), names);
    statements_.back()["Effect"] = "Deny";
  }
  /// The last statement, of locks: not for longer, where the store knows the condition.
  void limit_retention(unsigned most_days) {
    statements_.back()["Condition"] = {{"NumericLessThanEqualsIfExists", {{"s3:object-lock-remaining-retention-days", fmt::to_string(most_days)}}}};
  }
  Json document() const { return {{"Version", "2012-10-17"}, {"Statement", statements_}}; }

 private:
  void add(const Place& place, std::string_view id, std::vector<std::string> actions, Json resources) {
    statements_.push_back({{"Sid", fmt::format("{}{}", id, place.of)}, {"Effect", "Allow"}, {"Action", std::move(actions)}, {"Resource", std::move(resources)}});
  }
  std::string bucket(const Place& place) const { return fmt::format("{}:s3:::{}", arn_, place.address.bucket()); }
  const std::string_view arn_;
  Json statements_ = Json::array();
};

void allow_reading(Policy& policy, const Place& place) {
  policy.allow(place, "ReadObjects", {"s3:GetObject"}, {"*"});
  policy.allow_listing(place);
  policy.allow_looking_at_settings(place);
}

void allow_creating(Policy& policy, const Place& place) {
  policy.allow(place, "CreateObjects", {"s3:PutObject"}, {"*"});
  policy.allow(place, "TidyUpAfterTheProbe", {"s3:DeleteObject", "s3:DeleteObjectVersion"}, {"probe/*"});
}

/// S3 asks for s3:PutObjectRetention with each PUT that locks. Who looks after locks extends them as far as retention goes; who only creates may lock for no longer
/// than what is created: else whoever takes over the host could make everything be paid for for a century.
/// @param log_apart  in another bucket, without locks
void allow_locks(Policy& policy, const Place& place, std::string_view role, unsigned days, bool log_apart) {
  policy.deny(place, "TakeNoLockOff", {"s3:BypassGovernanceRetention"}, {"*"});
  if (role == "janitor") return policy.allow(place, "ExtendLocks", {"s3:PutObjectRetention", "s3:GetObjectRetention"}, {"*"});
  if (role == "restorer" && log_apart) return;
  policy.allow(place, "LockWhatItCreates", {"s3:PutObjectRetention"}, {role == "writer" ? "*" : "c/*/log/*"});
  policy.limit_retention(days + 1);
  if (role == "writer") policy.allow(place, "TryALock", {"s3:GetObjectRetention"}, {"probe/*"});
}

void allow_stores_key(Policy& policy, const S3Settings& s3) {
  if (s3.server_side_encryption == "aws:kms" && s3.kms_key_id) policy.allow_key(*s3.kms_key_id, {"kms:Decrypt", "kms:GenerateDataKey"});
}

std::string region_of(const S3Settings& s3) { return s3.region.value_or("us-east-1"); }

Result<Place> place_of(const std::string& url, const S3Settings& s3, std::string_view of) {
  return Place{TRY(storage::S3Address::parse(url, s3.endpoint.value_or(""), region_of(s3), s3.path_style.value_or(false))), of};
}

Error no_bucket(std::string_view what, const std::string& url) {
  return {Errc::Precondition, fmt::format("the {} {} is not in a bucket", what, url), Hint{"a directory's rights are those of its files"}};
}

constexpr auto kThatExpire = {"c/*/p/*", "c/*/snap/*", "c/*/wal/*"};

/// Of the host that runs replicate, in the bucket of the copies; at the source it only reads. @param looks_after_locks  of the one that runs lock there instead
Result<Json> mirror_policy(Context& context, const std::string& name, bool looks_after_locks) {
  const auto& configuration = *TRY(context.configuration());
  const auto& mirrors = configuration.mirrors;
  const auto mirror = std::ranges::find(mirrors, name, &MirrorSettings::name);
  if (mirror == mirrors.end()) return Error(Errc::Configuration, fmt::format("there is no mirror \"{}\"", name), Hint{"[[mirror]] in the configuration has their names"});
  RepositorySettings url;
  url.url = mirror->url;
  if (!url.is_s3()) return no_bucket("mirror", mirror->url);
  const auto& s3 = mirror->s3.empty() ? configuration.s3 : mirror->s3;
  const auto place = TRY(place_of(mirror->url, s3, ""));
  Policy policy(region_of(s3));
  allow_reading(policy, place);
  allow_stores_key(policy, s3);
  if (looks_after_locks) {
    allow_locks(policy, place, "janitor", 0, false);
    return policy.document();
  }
  allow_creating(policy, place);
  policy.allow(place, "RemoveOldMarks", {"s3:DeleteObject", "s3:DeleteObjectVersion"}, {"mirror/*"});
  policy.allow(place, "RemoveWhatVanished", {"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObjectRetention"}, {kThatExpire.begin(), kThatExpire.end()});
  if (s3.object_lock) allow_locks(policy, place, "writer", s3.object_lock_days.value_or(kObjectLockDays), false);
  return policy.document();
}

Result<Json> role_policy(Context& context, const std::string& role) {
  const auto& settings = *TRY(context.repository_settings());
  if (!settings.is_s3()) return no_bucket("repository", settings.url);
  const auto& s3 = settings.s3.empty() ? TRY(context.configuration())->s3 : settings.s3;
  const auto packs = TRY(place_of(settings.url, s3, ""));
  const bool apart = !settings.log_url.empty();
  const auto log = apart ? TRY(place_of(settings.log_url, s3, "OfTheLog")) : packs;

  Policy policy(region_of(s3));
  allow_reading(policy, packs);
  if (apart) allow_reading(policy, log);
  if (role == "writer") {
    allow_creating(policy, packs);
    if (apart) allow_creating(policy, log);
    // The oldest version of what several create at once is the one that counts: whoever came later puts it back.
    if (apart) policy.allow(packs, "ReadVersions", {"s3:GetObjectVersion"}, {"c/*/wal/*", "probe/*"});
  } else {
    policy.allow(log, "WriteTheLog", {"s3:PutObject"}, {"c/*/log/*"});
  }
  if (role == "janitor") policy.allow(packs, "RemoveWhatExpired", {"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObjectRetention"}, {kThatExpire.begin(), kThatExpire.end()});
  if (s3.object_lock) allow_locks(policy, packs, role, s3.object_lock_days.value_or(kObjectLockDays), apart);
  allow_stores_key(policy, s3);
  return policy.document();
}

Result<int> run(Context& context) {
  const auto role = context.arguments().get("--role"), mirror = context.arguments().get("--mirror");
  if (!role && !mirror) return Error(Errc::Usage, "policy aws needs --role writer, restorer or janitor, or --mirror NAME", Hint{"pgmint policy aws --help"});
  if (mirror && role && *role != "janitor") return Error(Errc::Usage, fmt::format("--mirror with --role is for the janitor alone: the {} has no business there", *role), Hint{"pgmint policy aws --help"});
  const auto policy = TRY(mirror ? mirror_policy(context, *mirror, role.has_value()) : role_policy(context, *role));
  context.output().line(policy.dump(2));
  context.output().document(policy);
  return 0;
}

}  // namespace

const CommandSpec& policy_aws_command() {
  static const CommandSpec command = {
      .verb = "policy aws",
      .summary = "print the IAM policy that a role needs in the repository's bucket, or who copies to a mirror in that one, and nothing more",
      .description = {"Three roles. writer, for the database's host: creates objects and removes none, so that whoever takes over the host cannot destroy backups; where the bucket keeps versions, what it overwrites can be brought back (repair --undelete). restorer, for where restores happen: "
                      "reads, and writes the log alone, where it says what it is reading. janitor, for expire and collect: removes packs, manifests and WAL, never the log, the keys or the "
                      "format; and for lock, where object_lock is set. No role may bypass locks. For collect a key slot of the role maintenance is enough (key add --role maintenance), which cannot read a row of any table; expire and lock read manifests and the "
                      "headers of WAL besides, and need one of the role host.",
                      "With --mirror: what the host that runs replicate needs in the bucket of that [[mirror]]. It creates the copies, removes its own old marks and what has vanished at the source for keep_removed, "
                      "and never the log, the keys or the format of a copy. At the source it needs what the restorer reads, and writes nothing. "
                      "With --role janitor too: of the host that runs lock on that mirror, which reads, and extends locks.",
                      "Nothing is connected to: bucket, prefix and key are those of the configuration. init and changes of keys are an administrator's: they need what writer and janitor have together, and "
                      "s3:DeleteObject for keys/*."},
      .positionals = {},
      .options = {{.name = "--role", .value = "ROLE", .text = "writer, restorer or janitor.", .words = {"writer", "restorer", "janitor"}},
                  {.name = "--mirror", .value = "NAME", .text = "Of who copies to this mirror, in its bucket; with --role janitor of who looks after its locks."}},
      .exits = {{4, "The repository or the mirror is not in a bucket."}},
      .examples = {{"pgmint policy aws --role writer", "Into writer.json, then: aws iam put-user-policy --user-name pgmint-writer --policy-name pgmint --policy-document file://writer.json"}},
      .see_also = {"key add", "doctor", "collect", "replicate"},
      .only_reads = true,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
