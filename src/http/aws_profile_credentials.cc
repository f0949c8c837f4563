#include "http/aws_profile_credentials.h"

#include <fmt/format.h>

#include <set>

#include "base/log.h"
#include "http/aws_metadata.h"

namespace pgmint::http {
namespace {

using Look = AwsCredentialPlace::Look;

class EnvironmentCredentials final : public AwsCredentialPlace {
 public:
  explicit EnvironmentCredentials(const AwsSurroundings& surroundings) : surroundings_(surroundings) {}
  std::string name() const override { return "the environment"; }

  Result<Look> look() override {
    const auto id = variable(surroundings_, "AWS_ACCESS_KEY_ID");
    const auto secret = variable(surroundings_, "AWS_SECRET_ACCESS_KEY");
    if (!id && !secret) return Look{std::nullopt, "AWS_ACCESS_KEY_ID is not set"};
    if (!id || !secret)
      return Error(Errc::Configuration, fmt::format("{} is set and {} is not", id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                                                    id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID"));
    return Look{TRY(checked_credentials({*id, *secret, variable(surroundings_, "AWS_SESSION_TOKEN").value_or(""), std::nullopt, name()})), ""};
  }

 private:
  const AwsSurroundings surroundings_;
};

class ProfileCredentials final : public AwsCredentialPlace {
 public:
  ProfileCredentials(const AwsSurroundings& surroundings, const AwsSts& sts, std::optional<std::string> chosen)
      : surroundings_(surroundings), sts_(sts), chosen_(std::move(chosen)) {}
  std::string name() const override { return "the profile " + profile_name(chosen_, surroundings_.environment); }

  Result<Look> look() override {
    // Read each time: whoever renews short-lived keys there expects that.
    const auto profiles = TRY(read_profiles(surroundings_.environment));
    const auto wanted = profile_name(chosen_, surroundings_.environment);
    const bool named = wanted != "default" || (chosen_ && !chosen_->empty()) || variable(surroundings_, "AWS_PROFILE");
    for (const auto& warning : profiles.warnings)
      if (warned_.insert(warning).second) log_warning("{}", warning);
    const auto nothing = [&](const std::string& why) -> Result<Look> {
      if (!named) return Look{std::nullopt, why};
      return Error(Errc::Configuration, why, Hint{"the profiles there are: " + names(profiles)});
    };
    const auto* profile = profiles.find(wanted);
    if (profile == nullptr) return nothing(where(profiles));
    if (!says_who(*profile)) return nothing(fmt::format("profile {} names no credentials", wanted));
    std::set<std::string> visited;
    return Look{TRY(of_profile(profiles, wanted, visited)), ""};
  }

 private:
  static std::string where(const AwsProfiles& profiles) {
    const auto& first = profiles.credentials_file;
    const auto& second = profiles.config_file;
    if (first.empty() && second.empty()) return "there is no home directory for it (HOME is not set)";
    if (first.empty() || second.empty()) return fmt::format("{} does not have it", first.empty() ? second.string() : first.string());
    return fmt::format("neither {} nor {} has it", first.string(), second.string());
  }
  static std::string names(const AwsProfiles& profiles) {
    std::string out;
    for (const auto& [name, values] : profiles.by_name) out += (out.empty() ? "" : ", ") + name;
    return out.empty() ? "none" : out;
  }
  static const std::string* value(const AwsProfile& profile, const std::string& key) {
    const auto found = profile.find(key);
    return found == profile.end() || found->second.empty() ? nullptr : &found->second;
  }
  static std::string unsupported(const AwsProfile& profile) {
    for (const auto& [key, text] : profile)
      if (key == "credential_process" || key == "login_session" || key.starts_with("sso_")) return key;
    return "";
  }
  static bool says_who(const AwsProfile& profile) {
    for (const auto* key : {"role_arn", "aws_access_key_id", "aws_secret_access_key", "web_identity_token_file"})
      if (value(profile, key) != nullptr) return true;
    return !unsupported(profile).empty();
  }

  /// @param visited  profiles on the way here: a role's source may have a role of its own
  Result<AwsCredentials> of_profile(const AwsProfiles& profiles, const std::string& wanted, std::set<std::string>& visited) {
    const auto* profile = profiles.find(wanted);
    const auto wrong = [&](const std::string& why) { return Error(Errc::Configuration, fmt::format("AWS profile {}: {}", wanted, why)); };
    if (profile == nullptr) return wrong("there is no such profile");
    if (!visited.insert(wanted).second) return wrong("its source_profile leads back to itself");
    const auto* role_arn = value(*profile, "role_arn");
    if (role_arn == nullptr) return own_keys(*profile, wanted);
    if (value(*profile, "mfa_serial") != nullptr) return wrong("mfa_serial needs a person; pgmint runs without one");
    AwsRole role;
    role.arn = *role_arn;
    if (const auto* text = value(*profile, "role_session_name")) role.session_name = *text;
    if (const auto* text = value(*profile, "external_id")) role.external_id = *text;
    if (const auto* token_file = value(*profile, "web_identity_token_file")) return web_identity_credentials(sts_, {*token_file, role});
    return sts_.assume_role(TRY(callers_of(profiles, wanted, *profile, visited)), role);
  }

  /// Who takes on the role.
  Result<AwsCredentials> callers_of(const AwsProfiles& profiles, const std::string& wanted, const AwsProfile& profile, std::set<std::string>& visited) {
    if (const auto* from = value(profile, "source_profile")) {
      if (*from == wanted) return own_keys(profile, wanted);
      return of_profile(profiles, *from, visited);
    }
    const auto wrong = [&](const std::string& why) { return Error(Errc::Configuration, fmt::format("AWS profile {}: {}", wanted, why)); };
    const auto* from = value(profile, "credential_source");
    if (from == nullptr) return wrong("it has a role_arn, and neither source_profile, credential_source nor web_identity_token_file");
    std::unique_ptr<AwsCredentialPlace> there;
    if (*from == "Environment") there = environment_credentials(surroundings_);
    if (*from == "Ec2InstanceMetadata") there = instance_metadata(surroundings_);
    if (*from == "EcsContainer") there = container_credentials(surroundings_);
    if (!there) return wrong(fmt::format("credential_source {} is none of Environment, Ec2InstanceMetadata, EcsContainer", *from));
    auto look = TRY(there->look());
    if (!look.found) return wrong(fmt::format("{}: {}", there->name(), look.absent));
    return std::move(*look.found);
  }

  static Result<AwsCredentials> own_keys(const AwsProfile& profile, const std::string& wanted) {
    const auto* id = value(profile, "aws_access_key_id");
    const auto* secret = value(profile, "aws_secret_access_key");
    const auto wrong = [&](const std::string& why, Hint hint) { return Error(Errc::Configuration, fmt::format("AWS profile {}: {}", wanted, why), std::move(hint)); };
    if (id == nullptr && secret == nullptr) {
      if (const auto key = unsupported(profile); !key.empty())
        return wrong(fmt::format("it has {}, which pgmint does not support", key), Hint{"use keys, role_arn or web_identity_token_file"});
      return wrong("it names no credentials", Hint{"aws_access_key_id and aws_secret_access_key"});
    }
    if (id == nullptr || secret == nullptr)
      return wrong(fmt::format("it has {} without {}", id != nullptr ? "aws_access_key_id" : "aws_secret_access_key",
                               id != nullptr ? "aws_secret_access_key" : "aws_access_key_id"),
                   Hint{"both belong together"});
    const auto* token = value(profile, "aws_session_token");
    return checked_credentials({*id, *secret, token != nullptr ? *token : "", std::nullopt, "the profile " + wanted});
  }

  const AwsSurroundings surroundings_;
  const AwsSts& sts_;
  const std::optional<std::string> chosen_;
  std::set<std::string> warned_;
};

}  // namespace

std::unique_ptr<AwsCredentialPlace> profile_credentials(const AwsSurroundings& surroundings, const AwsSts& sts, std::optional<std::string> chosen) {
  return std::make_unique<ProfileCredentials>(surroundings, sts, std::move(chosen));
}

std::unique_ptr<AwsCredentialPlace> environment_credentials(const AwsSurroundings& surroundings) {
  return std::make_unique<EnvironmentCredentials>(surroundings);
}

}  // namespace pgmint::http
