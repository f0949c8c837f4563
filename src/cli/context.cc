#include "cli/context.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <thread>

#include "base/log.h"
#include "cli/cached_key_service.h"
#include "cli/opened_slots.h"
#include "cli/repository_store.h"
#include "cli/secrets.h"
#include "repository/layout.h"
#include "storage/cache_store.h"
#include "storage/cancel_store.h"
#include "storage/retry_store.h"

namespace pgmint::cli {
namespace {

constexpr int kFewAttempts = 3;
/// For a bucket, and where others must not wait for this one. A day of a small server, an hour of a busy one.
constexpr ByteCount kSpoolMax{std::uint64_t{4} << 30};

}  // namespace

std::string host_name() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  return host.data();
}

std::string actor_label() {
  const auto* user = ::getpwuid(::geteuid());
  return fmt::format("{}@{}", user != nullptr ? user->pw_name : std::to_string(::geteuid()), host_name());
}

Context::Context(Arguments arguments, CancelToken& cancel)
    : arguments_(std::move(arguments)), output_(arguments_.has("--json")), cancel_(cancel) {}

Context::~Context() = default;

Result<const Configuration*> Context::configuration() {
  if (!configuration_) configuration_ = TRY(load_configuration(arguments_));
  return &*configuration_;
}

Status Context::need_repositories() {
  if (!TRY(configuration())->repositories.empty()) return ok();
  return Error(Errc::Configuration, "no repository is configured",
               Hint{fmt::format("set repository = \"/var/lib/pgmint\" in {}", arguments_.get("--config").value_or(std::string(kDefaultConfigFile)))});
}

Result<const RepositorySettings*> Context::repository_settings() {
  TRY(need_repositories());
  const auto& repositories = TRY(configuration())->repositories;
  if (repositories.size() > 1)
    return Error(
        Errc::Configuration,
        fmt::format("{} repositories are configured, and {} is about one of them", repositories.size(), arguments_.command->verb),
        Hint{fmt::format("name it: --repository {}", repositories.front().name)});
  return &repositories.front();
}

Result<EncryptionSettings> Context::encryption() {
  const auto& own = TRY(repository_settings())->encryption;
  auto chosen = own.empty() ? TRY(configuration())->encryption : own;
  if (const auto state = state_directory()) chosen.services.pkcs11.refused_pins = (*state / "refused-pins").string();
  return chosen;
}

Result<fs::path> Context::state_directory() {
  return cli::state_directory(*TRY(configuration()), process_environment);
}

Result<RepositoryPlace*> Context::place(bool create) {
  if (place_) return place_.get();
  auto made = std::make_unique<RepositoryPlace>();
  made->settings = *TRY(repository_settings());
  made->encryption = TRY(encryption());
  made->s3 = made->settings.s3.empty() ? TRY(configuration())->s3 : made->settings.s3;
  storage::RetryPolicy patience;
  if (give_up_early_) patience.attempts_max = kFewAttempts;
  auto opened = TRY(open_repository_store(made->settings, made->s3, create, patience, cancel_));
  made->store = std::move(opened.store);
  made->bucket = opened.bucket;
  made->log_bucket = opened.log_bucket;
  made->log_store = opened.log_store;
  if (made->bucket != nullptr && !look_past_copies_) {
    storage::CachePolicy policy{.keeps = repository::is_small_and_final, .keeps_front = repository::is_wal};
    const auto copies = arguments_.command->copies;
    if (copies == BackupCopies::None) policy.keeps = [](const std::string& name) { return repository::is_small_and_final(name) && !repository::is_manifest(name); };
    if (copies == BackupCopies::OwnPacks) policy.keeps_small = [](const std::string& name) { return repository::parse_pack_name(name).has_value(); };
    made->store = storage::make_cache_store(std::move(made->store), TRY(state_directory()) / "copies", policy, system_clock());
  }
  // Also of a directory, where WAL may have to be sealed while it is away.
  if (!look_past_copies_ && (made->bucket != nullptr || TRY(spool_max()).value() > 0)) {
    auto copies = std::make_unique<repository::KeyCopies>(std::move(made->store), TRY(state_directory()) / "keys");
    made->key_copies = copies.get();
    made->store = std::move(copies);
  }
  if (stop_at_next_request_) made->store = storage::make_cancel_store(std::move(made->store), cancel_);
  made->seen = repository::make_seen_memory(TRY(state_directory()) / "seen");
  place_ = std::move(made);
  return place_.get();
}

Result<repository::Environment> Context::environment(bool create) {
  auto* where = TRY(place(create));
  return repository::Environment{*where->store, system_clock(), system_random(),
                                 *where->seen,  actor_label(),  arguments_.command_line, where->key_copies,
                                 where->bucket != nullptr ? kRequestsAtOnce : 1, where->settings.log_url};
}

/// Who writes may go on for some time without the service that keeps a key; who reads is told what is missing.
Result<std::vector<repository::Unlock>> Context::unlocks(const EncryptionSettings& encryption) {
  auto unlocks = TRY(configured_unlocks(encryption));
  const auto limit = encryption.service_key_cache.value_or(kServiceKeyCache);
  if (!arguments_.command->changes_repository || look_past_copies_ || limit.count() == 0) return unlocks;
  for (auto& unlock : unlocks)
    if (unlock.service && unlock.provider != repository::KeyProvider::Pkcs11) unlock.service = make_cached_key_service(std::move(unlock.service), limit, system_clock());
  return unlocks;
}

Result<repository::Repository*> Context::repository() {
  if (repository_) return repository_.get();
  const auto environment = TRY(this->environment());
  auto unlocks = TRY(this->unlocks(place_->encryption));
  auto opened = repository::Repository::open(environment, std::move(unlocks));
  if (!opened) {
    auto error = std::move(opened.error());
    if (error.code() == Errc::NotFound) return std::move(error).with_code(Errc::Precondition);
    return error;
  }
  const auto* command = arguments_.command;
  if ((*opened)->is_mirror() && command != nullptr && command->changes_repository && !command->serves_mirrors && !arguments_.has("--dry-run"))
    return repository::mirror_refusal(*(*opened)->mirror_mark(), place_->store->describe());
  repository_ = std::move(*opened);
  note_opened_slot(*repository_, TRY(state_directory()));
  return repository_.get();
}

Result<ByteCount> Context::spool_max() {
  if (const auto& configured = TRY(configuration())->wal.spool_max) return *configured;
  // Also when one of several is named: what wal push kept for it waits all the same.
  return TRY(repository_settings())->is_s3() || TRY(configuration())->chosen_of_several ? kSpoolMax : ByteCount(0);
}

Result<const wal::Spool*> Context::spool() {
  if (spool_) return spool_.get();
  const auto* settings = TRY(repository_settings());
  // A directory that is not there cannot be opened as a store, and is called what it would be.
  const auto name = settings->is_s3() ? TRY(place())->store->describe() : TRY(settings->directory()).string();
  spool_ = std::make_unique<wal::Spool>(TRY(state_directory()), name);
  return spool_.get();
}

Result<repository::Repository*> Context::repository_while_away() {
  if (away_) return away_.get();
  away_place_.store = TRY(TRY(spool())->open_store(TRY(state_directory()) / "keys"));
  away_place_.seen = repository::make_no_memory();
  const repository::Environment environment{*away_place_.store, system_clock(), system_random(), *away_place_.seen, actor_label(), arguments_.command_line, nullptr, 1, std::nullopt};
  away_ = TRY(repository::Repository::open(environment, TRY(unlocks(TRY(encryption())))));
  return away_.get();
}

Result<unsigned> Context::jobs() {
  if (const auto text = arguments_.get("--jobs")) {
    unsigned jobs = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), jobs);
    if (error != std::errc() || end != text->data() + text->size() || jobs < 1 || jobs > 256)
      return Error(Errc::Usage, fmt::format("--jobs {}: must be a number from 1 to 256", *text));
    return jobs;
  }
  if (const auto& configured = TRY(configuration())->jobs) return *configured;
  return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace pgmint::cli
