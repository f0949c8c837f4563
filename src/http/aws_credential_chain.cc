#include "http/aws_credential_chain.h"

#include <fmt/format.h>

#include <vector>

#include "http/aws_metadata.h"
#include "http/aws_profile_credentials.h"
#include "http/aws_sts.h"
#include "http/client.h"

namespace pgmint::http {
namespace {

using Look = AwsCredentialPlace::Look;

bool set(const std::optional<std::string>& text) { return text && !text->empty(); }

class WebIdentityCredentials final : public AwsCredentialPlace {
 public:
  WebIdentityCredentials(const AwsSurroundings& surroundings, const AwsSts& sts) : surroundings_(surroundings), sts_(sts) {}
  std::string name() const override { return "the web identity"; }

  Result<Look> look() override {
    const auto file = variable(surroundings_, "AWS_WEB_IDENTITY_TOKEN_FILE");
    if (!file) return Look{std::nullopt, "AWS_WEB_IDENTITY_TOKEN_FILE is not set"};
    const auto arn = variable(surroundings_, "AWS_ROLE_ARN");
    if (!arn) return Error(Errc::Configuration, "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not");
    WebIdentity identity{*file, {}};
    identity.role.arn = *arn;
    if (auto session = variable(surroundings_, "AWS_ROLE_SESSION_NAME")) identity.role.session_name = std::move(*session);
    return Look{TRY(web_identity_credentials(sts_, identity)), ""};
  }

 private:
  const AwsSurroundings surroundings_;
  const AwsSts& sts_;
};

/// Places in their order. Asked by one thread at a time.
class Chain {
 public:
  explicit Chain(std::vector<std::unique_ptr<AwsCredentialPlace>> places) : places_(std::move(places)) {}

  Result<AwsCredentials> ask() {
    std::string tried;
    for (const auto& place : places_) {
      auto look = place->look();
      if (!look) {
        auto error = std::move(look).failure();
        return std::move(error).with_context(tried.empty() ? place->name() : fmt::format("{} (before it: {})", place->name(), tried)).with_context("AWS credentials");
      }
      if (look->found) {
        found_before_ = place->name();
        return std::move(*look->found);
      }
      tried += fmt::format("{}{}: {}", tried.empty() ? "" : "; ", place->name(), look->absent);
    }
    // What gave some an hour ago has not been taken out of the configuration since.
    if (!found_before_.empty()) return Error(Errc::Storage, fmt::format("{} gave AWS credentials before and gives none now: {}", found_before_, tried));
    return Error(Errc::Configuration, fmt::format("no AWS credentials were found; looked at, in this order: {}", tried),
                 Hint{"set access_key_id and secret_access_key, or a profile, or give the machine a role"});
  }

 private:
  const std::vector<std::unique_ptr<AwsCredentialPlace>> places_;
  std::string found_before_;
};

/// A role on top of whatever was found.
class RoleOnTop {
 public:
  RoleOnTop(std::unique_ptr<AwsCredentialSource> callers, const AwsSts& sts, AwsRole role)
      : callers_(std::move(callers)), sts_(sts), role_(std::move(role)) {}

  Result<AwsCredentials> ask() {
    const auto caller = TRY(callers_->get());
    auto given = sts_.assume_role(caller, role_);
    if (given || given.failure().code() != Errc::Key) return given;
    // The caller's own may have been replaced meanwhile.
    callers_->forget(caller);
    const auto fresh = TRY(callers_->get());
    if (fresh.access_key_id == caller.access_key_id) return given;
    return sts_.assume_role(fresh, role_);
  }

 private:
  const std::unique_ptr<AwsCredentialSource> callers_;
  const AwsSts& sts_;
  const AwsRole role_;
};

/// Everything that one source is made of, in the order of who borrows from whom.
class AwsChainSource final : public AwsCredentialSource {
 public:
  AwsChainSource(const AwsCredentialSettings& settings, const AwsSurroundings& surroundings)
      : surroundings_(surroundings), settings_(settings) {}

  Result<AwsCredentials> get() override {
    auto* source = TRY(opened());
    return source->get();
  }
  void forget(const AwsCredentials& refused) override {
    const std::lock_guard lock(mutex_);
    if (source_) source_->forget(refused);
  }

 private:
  /// The region may stand in a file: it is not read before somebody needs credentials.
  Result<AwsCredentialSource*> opened() {
    const std::lock_guard lock(mutex_);
    if (source_) return source_.get();
    std::string endpoint = set(settings_.sts_endpoint) ? *settings_.sts_endpoint : variable(surroundings_, "AWS_ENDPOINT_URL_STS").value_or("");
    if (!endpoint.empty() && !may_carry_secrets(endpoint))
      return Error(Errc::Configuration, fmt::format("the STS endpoint {} is neither https nor on this machine: keys would travel in clear", authority_of(endpoint)));
    const auto region = TRY(aws_region(settings_.region, settings_.profile, surroundings_.environment));
    sts_.emplace(surroundings_, std::move(endpoint), region.value_or(""));
    std::unique_ptr<AwsCredentialSource> found;
    if (set(settings_.access_key_id)) {
      found = fixed_credentials(TRY(checked_credentials(
          {*settings_.access_key_id, *settings_.secret_access_key, settings_.session_token.value_or(""), std::nullopt, "the configuration"})));
    } else {
      auto chain = std::make_shared<Chain>(places());
      found = renewed_credentials([chain] { return chain->ask(); }, surroundings_.clock);
    }
    if (set(settings_.role_arn)) {
      AwsRole role;
      role.arn = *settings_.role_arn;
      role.external_id = settings_.external_id.value_or("");
      if (set(settings_.role_session_name)) role.session_name = *settings_.role_session_name;
      auto on_top = std::make_shared<RoleOnTop>(std::move(found), *sts_, std::move(role));
      found = renewed_credentials([on_top] { return on_top->ask(); }, surroundings_.clock);
    }
    source_ = std::move(found);
    return source_.get();
  }

  std::vector<std::unique_ptr<AwsCredentialPlace>> places() const {
    std::vector<std::unique_ptr<AwsCredentialPlace>> places;
    if (set(settings_.profile)) {
      places.push_back(profile_credentials(surroundings_, *sts_, settings_.profile));
      return places;
    }
    places.push_back(environment_credentials(surroundings_));
    places.push_back(profile_credentials(surroundings_, *sts_, std::nullopt));
    places.push_back(std::make_unique<WebIdentityCredentials>(surroundings_, *sts_));
    places.push_back(container_credentials(surroundings_));
    places.push_back(instance_metadata(surroundings_));
    return places;
  }

  const AwsSurroundings surroundings_;
  const AwsCredentialSettings settings_;
  std::mutex mutex_;
  std::optional<AwsSts> sts_;
  std::unique_ptr<AwsCredentialSource> source_;
};

}  // namespace

Result<std::unique_ptr<AwsCredentialSource>> make_aws_credentials(AwsCredentialSettings settings, const AwsSurroundings& surroundings) {
  const auto wrong = [](std::string_view what, std::string_view hint) { return Error(Errc::Configuration, std::string(what), Hint{std::string(hint)}); };
  if (set(settings.access_key_id) != set(settings.secret_access_key))
    return wrong("access_key_id and secret_access_key belong together: one of them is missing", "set both, or none");
  if (set(settings.session_token) && !set(settings.access_key_id)) return wrong("session_token belongs to access_key_id, which is not set", "set both, or none");
  if (set(settings.access_key_id) && set(settings.profile)) return wrong("access_key_id and profile are both set", "leave one of them out");
  if (set(settings.external_id) && !set(settings.role_arn)) return wrong("external_id belongs to role_arn, which is not set", "set role_arn");
  return std::unique_ptr<AwsCredentialSource>(std::make_unique<AwsChainSource>(settings, surroundings));
}

Result<std::optional<std::string>> aws_region(const std::optional<std::string>& configured, const std::optional<std::string>& profile,
                                              const AwsEnvironment& environment) {
  if (set(configured)) return configured;
  for (const auto* name : {"AWS_REGION", "AWS_DEFAULT_REGION"})
    if (auto region = environment(name); set(region)) return region;
  const auto profiles = TRY(read_profiles(environment));
  if (const auto* found = profiles.find(profile_name(profile, environment)))
    if (const auto region = found->find("region"); region != found->end() && !region->second.empty()) return std::optional(region->second);
  return std::optional<std::string>();
}

}  // namespace pgmint::http
