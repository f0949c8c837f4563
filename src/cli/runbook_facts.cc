#include "cli/runbook_facts.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <regex>

#include "base/log.h"
#include "base/units.h"
#include "cli/dump_names.h"
#include "cli/key_services.h"
#include "cli/opened_slots.h"
#include "cli/recall_command.h"
#include "cli/recovery_plan_file.h"
#include "cli/schedule_plan.h"
#include "cli/slots_json.h"
#include "service/unix_surroundings.h"

namespace pgmint::cli {
namespace {

constexpr std::uint64_t kTextMax = 1U << 20;

/// Of addresses the host alone: the path of a webhook is often the secret that opens it.
std::string without_paths(const std::string& line) {
  static const std::regex address(R"((https?://[^/\s"'?#]+)[/?#][^\s"']*)");
  return std::regex_replace(line, address, "$1/***");
}

/// A configuration file as one may print it. The quote that ends a line whose end was redacted is put back.
std::string without_secrets(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    const auto line = text.substr(at, end - at);
    auto shown = without_paths(redact(line));
    const auto last = line.find_last_not_of(" \t\r");
    if (shown != line && last != std::string::npos && line[last] == '"' && !shown.ends_with('"')) shown += '"';
    out += shown + "\n";
    at = end + 1;
  }
  return out;
}

KeyPlace key_place(const std::string& what, const std::string& path) {
  const auto status = stat_if_exists(path);
  if (!status) return {what, path, status.error().describe()};
  if (!*status) return {what, path, "NOT THERE"};
  return {what, path, fmt::format("there, mode {:04o}", (*status)->st_mode & 07777U)};
}

std::string retention_text(const RetentionSettings& settings) {
  std::string out;
  const auto rule = [&](const char* name, const std::optional<policy::Period>& period) {
    if (period) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, policy::format(*period));
  };
  rule("daily", settings.rules.daily);
  rule("weekly", settings.rules.weekly);
  rule("monthly", settings.rules.monthly);
  rule("yearly", settings.rules.yearly);
  rule("window", settings.rules.window);
  rule("WAL", settings.wal);
  return out;
}

void take_settings(ClusterFacts& cluster, const ClusterSettings& settings) {
  cluster.name = settings.name;
  cluster.configured = true;
  cluster.data_directory = settings.data_directory.string();
  cluster.connection = redact(settings.connection);
  cluster.environment = environment_name(settings.environment);
  cluster.objective = objectives_of(&settings).rpo;
  cluster.retention = retention_text(settings.retention);
  cluster.config_paths = settings.config_paths;
  if (settings.bin_directory) cluster.bin_directory = settings.bin_directory->string();
}

void take_health(ClusterFacts& cluster, const ClusterHealth& health) {
  cluster.name = health.name;
  cluster.in_repository = !health.recovery.windows.empty() || !health.backups.empty();
  cluster.objective = health.objectives.rpo;
  if (health.proof) cluster.proven = ProvenRestore{health.proof->proof.restored.value_or(health.proof->time), proof_text(health.proof)};
  cluster.exposure = health.exposure;
  cluster.windows = health.recovery.windows;
  cluster.proofs = fmt::format("{}; WAL: {}", proofs_text(health.proofs), proofs_text(health.wal_proofs));
  cluster.problems = health.problems;
  for (const auto& backup : health.backups) {  // oldest first: the last of its kind stays
    if (needs_wal(backup)) {
      cluster.newest_backup = backup.snap.name;
      cluster.newest_started = backup.started();
    } else if (backup.snap.type == repository::BackupType::Config) {
      cluster.newest_config_backup = backup.snap.name;
    } else if (backup.root) {
      if (const auto databases = dumped_databases(*backup.root); !databases.empty()) cluster.newest_dump_database = databases.back();
    }
  }
}

Status take_repository(Context& context, RunbookFacts& facts) {
  auto& repository = *TRY(context.repository());
  const auto clusters = TRY(repository.clusters());
  const auto opened = TRY(opened_slots(repository, clusters, TRY(context.state_directory())));
  for (const auto& slot : TRY(repository.slots())) {
    SlotFacts one{slot.name, std::string(slot_kind(slot.provider)), slot.unreadable() ? "?" : std::string(repository::role_name(slot.role)), slot.note, std::nullopt, std::nullopt,
                  slot.provider == repository::KeyProvider::KeyFile};
    if (!slot.unreadable()) one.created = slot.created;
    if (const auto at = opened.find(slot.name); at != opened.end()) one.opened = at->second;
    facts.slots.push_back(std::move(one));
  }
  facts.warnings = TRY(repository_warnings(context));
  for (const auto& health : TRY(health_of_all(context, std::nullopt))) {
    auto known = std::ranges::find(facts.clusters, health.name, &ClusterFacts::name);
    if (known == facts.clusters.end()) known = facts.clusters.insert(known, ClusterFacts{});
    take_health(*known, health);
  }
  return ok();
}

void take_plan(Context& context, RunbookFacts& facts, const Configuration& configuration) {
  if (!configuration.recovery.plan) return;
  facts.plan = configuration.recovery.plan->string();
  const auto text = read_text_file(*facts.plan, kTextMax);
  const auto plan = text ? parse_recovery_plan(*text, *facts.plan, {own_command(context), configuration}) : Result<service::RecoveryPlan>(text.error());
  if (!plan) {
    facts.plan_problem = plan.error().describe();
    return;
  }
  for (std::size_t i = 0; i < plan->steps.size(); ++i) {
    const auto& step = plan->steps[i];
    facts.plan_steps.push_back({std::to_string(i + 1), std::string(service::group_name(step.group)), step.name, step.check ? service::describe(*step.check) : "NOTHING SHOWS IT"});
  }
  for (const auto& contact : plan->contacts)
    if (std::ranges::find(facts.contacts, contact.name, &service::Contact::name) == facts.contacts.end()) facts.contacts.push_back(contact);
}

/// Only where a daemon does it: a plan that nobody carries out must not stand in a runbook.
void take_schedule(RunbookFacts& facts, const Configuration& configuration) {
  const auto daemon = service::running_daemon(facts.state_directory);
  const auto jobs = scheduled_jobs(configuration, host_name());
  if (!daemon || !*daemon || !jobs) return;
  for (const auto& [job, source] : *jobs) {
    const auto next = policy::next_planned({job.schedule, job.zone, job.delay}, facts.now);
    if (next) facts.schedule.push_back({std::string(service::spec_of(job.kind).title), job.cluster == service::kRepositoryJobs ? "all" : job.cluster, job.schedule.text(), wall_text(*next, job.zone)});
  }
}

}  // namespace

Result<RunbookFacts> runbook_facts(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  RunbookFacts facts;
  facts.now = system_clock().now();
  facts.actor = actor_label();
  facts.version = PGMINT_VERSION;
  facts.program = own_command(context);
  facts.program.front() = "pgmint";
  facts.configuration_file = configuration.file.empty() ? std::string(kDefaultConfigFile) : fs::absolute(configuration.file).lexically_normal().string();
  if (const auto text = read_text_file(facts.configuration_file, kTextMax)) facts.configuration_text = without_secrets(*text);
  if (const auto state = context.state_directory()) facts.state_directory = state->string();
  for (const auto& repository : configuration.repositories)
    facts.repository += fmt::format("{}{}{}", facts.repository.empty() ? "" : ", ", configuration.repositories.size() > 1 ? repository.name + ": " : "", redact(repository.url));
  for (const auto& repository : configuration.repositories) {
    const auto* encryption = repository.encryption.empty() ? &configuration.encryption : &repository.encryption;
    if (encryption == &configuration.encryption && &repository != &configuration.repositories.front()) continue;
    if (encryption->key_file) facts.keys.push_back(key_place("key file", *encryption->key_file));
    if (encryption->passphrase_file) facts.keys.push_back(key_place("passphrase file", *encryption->passphrase_file));
    if (encryption->recovery_key_file) facts.keys.push_back(key_place("recovery key file", *encryption->recovery_key_file));
    for (const auto& kind : key_service_kinds())
      for (const auto& uri : encryption->*kind.uris) facts.keys.push_back({std::string(kind.title), uri, "with the service"});
    if (encryption->export_passphrase_file) facts.keys.push_back(key_place("passphrase of exported files", *encryption->export_passphrase_file));
  }
  facts.contacts = configuration.contacts;
  facts.high = configuration.recovery.high;
  facts.medium = configuration.recovery.medium;
  for (const auto& settings : configuration.clusters) take_settings(facts.clusters.emplace_back(), settings);
  take_plan(context, facts, configuration);
  take_schedule(facts, configuration);
  auto read = take_repository(context, facts);
  TRY(context.cancel().check());
  if (!read) facts.repository_problem = read.error().describe();
  return facts;
}

}  // namespace pgmint::cli
