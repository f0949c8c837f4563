#include "http/aws_credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "base/log.h"

namespace pgmint::http {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr auto kRenewBefore = minutes(5);
constexpr auto kRenewPause = seconds(20);   ///< between two attempts while the old ones are valid: a request does not wait for each of them
constexpr auto kWarnInterval = minutes(1);

class FixedCredentials final : public AwsCredentialSource {
 public:
  explicit FixedCredentials(AwsCredentials credentials) : credentials_(std::move(credentials)) {}
  Result<AwsCredentials> get() override { return credentials_; }
  void forget(const AwsCredentials&) override {}

 private:
  const AwsCredentials credentials_;
};

class RenewedCredentials final : public AwsCredentialSource {
 public:
  RenewedCredentials(std::function<Result<AwsCredentials>()> ask, Clock& clock) : ask_(std::move(ask)), clock_(clock) {}

  Result<AwsCredentials> get() override {
    std::unique_lock lock(mutex_);
    if (renewing_) {
      if (usable(clock_.now())) return *current_;
      // What the one who asks gets is everybody's answer: a service that is away is not asked by each of them in turn.
      const auto round = round_;
      changed_.wait(lock, [&] { return round_ != round; });
      if (usable(clock_.now())) return *current_;
      if (failure_) return *failure_;
      return Error(Errc::Storage, "AWS credentials were refused while they were renewed");
    }
    const auto now = clock_.now();
    if (usable(now) && (!current_->expires || now < *current_->expires - kRenewBefore || now < asked_ + kRenewPause)) return *current_;
    return renew(lock);
  }

  void forget(const AwsCredentials& refused) override {
    const std::lock_guard lock(mutex_);
    if (current_ && current_->access_key_id == refused.access_key_id && current_->secret_access_key == refused.secret_access_key &&
        current_->session_token == refused.session_token)
      current_.reset();
  }

 private:
  bool usable(TimePoint now) const { return current_ && (!current_->expires || now < *current_->expires); }

  Result<AwsCredentials> renew(std::unique_lock<std::mutex>& lock) {
    renewing_ = true;
    lock.unlock();
    auto asked = ask_();
    lock.lock();
    const auto now = clock_.now();
    if (asked && asked->expires && *asked->expires <= now)
      asked = Error(Errc::Storage, fmt::format("{} gives credentials that expired at {}", asked->source, format_rfc3339(*asked->expires)),
                    Hint{"is this machine's clock right?"});
    renewing_ = false;
    asked_ = now;
    ++round_;
    failure_.reset();
    if (asked)
      current_ = *asked;
    else
      failure_ = asked.failure();
    changed_.notify_all();
    if (asked || !usable(now)) return asked;
    if (!warned_ || now >= *warned_ + kWarnInterval) {
      warned_ = now;
      log_warning("AWS credentials cannot be renewed; those in use expire at {}: {}", format_rfc3339(*current_->expires), failure_->describe());
    }
    return *current_;
  }

  const std::function<Result<AwsCredentials>()> ask_;
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool renewing_ = false;
  std::uint64_t round_ = 0;  ///< answers of ask_ so far
  std::optional<AwsCredentials> current_;
  std::optional<Error> failure_;
  TimePoint asked_{};
  std::optional<TimePoint> warned_;
};

bool is_visible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

std::unique_ptr<AwsCredentialSource> fixed_credentials(AwsCredentials credentials) {
  return std::make_unique<FixedCredentials>(std::move(credentials));
}

std::unique_ptr<AwsCredentialSource> renewed_credentials(std::function<Result<AwsCredentials>()> ask, Clock& clock) {
  return std::make_unique<RenewedCredentials>(std::move(ask), clock);
}

Result<AwsCredentials> checked_credentials(AwsCredentials credentials) {
  const auto wrong = [&](std::string_view what) { return Error(Errc::Configuration, fmt::format("{}: {}", credentials.source, what)); };
  if (credentials.access_key_id.empty()) return wrong("the access key id is empty");
  if (credentials.secret_access_key.empty()) return wrong("the secret access key is empty");
  if (!is_visible(credentials.access_key_id)) return wrong("the access key id has characters that none has");
  if (!is_visible(credentials.secret_access_key)) return wrong("the secret access key has characters that none has");
  if (!is_visible(credentials.session_token)) return wrong("the session token has characters that none has");
  return credentials;
}

}  // namespace pgmint::http
