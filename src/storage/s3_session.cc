#include "storage/s3_session.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/units.h"
#include "http/sigv4.h"
#include "storage/s3_answer.h"

namespace pgmint::storage {
namespace {

/// A request's target without scheme and host, for the log.
std::string_view what_of(std::string_view url) {
  const auto authority = http::authority_of(url);
  return url.substr(std::min(url.size(), url.find("://") + 3 + authority.size()));
}

}  // namespace

void S3Session::note_time(const http::Answer& answer) {
  const auto date = answer.header("date");
  if (!date) return;
  if (const auto time = parse_http_date(*date)) {
    store_ahead_us_ = (*time - clock_.now()).count();
    time_known_ = true;
  }
}

std::optional<std::chrono::microseconds> S3Session::store_ahead() const {
  if (!time_known_) return std::nullopt;
  return std::chrono::microseconds(store_ahead_us_);
}

std::optional<TimePoint> S3Session::store_time() const {
  const auto ahead = store_ahead();
  if (!ahead) return std::nullopt;
  return clock_.now() + *ahead;
}

Result<http::Answer> S3Session::send(const http::Request& request) {
  const auto hash = http::payload_hash(request.body);
  for (bool may_repeat = true;; may_repeat = false) {
    const auto credentials = TRY(credentials_->get());
    auto attempt = request;
    http::sign(attempt, credentials, {region_, "s3"}, clock_.now() + std::chrono::microseconds(signing_ahead_us_), hash);
    const auto began = clock_.now();
    auto answered = client_->perform(attempt);
    log_debug("{} {}: {} in {}", request.method, what_of(request.url), answered ? fmt::to_string(answered->status) : answered.failure().describe(),
              human(clock_.now() - began));
    auto answer = TRY(std::move(answered));
    note_time(answer);
    if (const auto version = answer.header("x-amz-version-id"); version && *version != "null") shows_versions_ = true;
    if (answer.success() || !may_repeat || (answer.status != 403 && answer.status != 400)) return answer;
    // Refused before anything was done: what can be put right is tried once more.
    const auto code = s3_error_code(answer);
    if (code == "ExpiredToken" || code == "InvalidToken") {
      credentials_->forget(credentials);
    } else if (code == "RequestTimeTooSkewed" && time_known_) {
      signing_ahead_us_ = store_ahead_us_.load();
      log_warning("{}: the store's clock is {} s ahead of this host's (behind when negative): signing by the store's", description_, signing_ahead_us_ / 1'000'000);
    } else {
      return answer;
    }
  }
}

Result<http::Answer> S3Session::fetch(const http::Request& request, const std::string& what) {
  auto answer = send(request).context(what);
  if (!answer && answer.failure().code() == Errc::Unknown) return std::move(answer).failure().with_code(Errc::Storage);
  return answer;
}

}  // namespace pgmint::storage
