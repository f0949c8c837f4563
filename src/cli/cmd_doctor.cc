#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/log.h"
#include "base/units.h"
#include "cli/alert_look.h"
#include "cli/bucket_checks.h"
#include "cli/commands.h"
#include "cli/health.h"
#include "cli/lock_trial.h"
#include "cli/mirror_facts.h"
#include "cli/recall_command.h"
#include "cli/s3_connection.h"
#include "cli/secrets.h"
#include "cli/store_probe.h"
#include "cli/unit_facts.h"
#include "crypto/secret.h"
#include "postgres/base_backup_stream.h"
#include "postgres/server_facts.h"
#include "postgres/server_summaries.h"
#include "service/unix_surroundings.h"
#include "storage/posix_store.h"

namespace pgmint::cli {
namespace {

constexpr auto kClockSkewMax = std::chrono::seconds(5);
/// Where scripts of before put dumps, encrypted or not.
constexpr const char* kWorkingFolders[] = {"/tmp/db-backups", "/tmp/db-restores"};
constexpr std::uint64_t kUnitMax = 1 << 20;
constexpr auto kAlertCheckMax = std::chrono::hours(1);

enum class State { Ok, Warning, Failed };

struct Check {
  std::string name;
  State state = State::Ok;
  std::string detail, hint;
  int code = 0;  ///< the exit code that its failure stands for
};

std::string_view state_name(State state) {
  return state == State::Ok ? "ok" : state == State::Warning ? "warning" : "failed";
}

/// Collects what was found; a failed check never ends the examination, only what depends on it is left out.
class Examination {
 public:
  explicit Examination(Context& context) : context_(context) {}

  Status run() {
    if (!examine_configuration()) return ok();
    examine_state_directory();
    const bool opened = examine_repository();
    TRY(context_.cancel().check());
    for (const auto& settings : (*context_.configuration())->clusters) {
      TRY(context_.cancel().check());
      examine_server(settings);
    }
    if (opened) examine_health();
    examine_schedule();
    examine_alerts();
    return ok();
  }

  const std::vector<Check>& checks() const { return checks_; }

 private:
  void good(std::string name, std::string detail) {
    checks_.push_back({std::move(name), State::Ok, std::move(detail), "", 0});
  }
  void warn(std::string name, std::string detail, std::string hint) {
    checks_.push_back({std::move(name), State::Warning, std::move(detail), std::move(hint), 0});
  }
  void fail(std::string name, std::string detail, std::string hint, Errc code) {
    checks_.push_back({std::move(name), State::Failed, std::move(detail), std::move(hint), exit_code(code)});
  }
  void fail(std::string name, const Error& error) {
    fail(std::move(name), error.describe(), error.hint(), error.code());
  }

  bool examine_configuration() {
    const auto loaded = context_.configuration();
    if (!loaded) return fail("configuration", loaded.error()), false;
    const auto& configuration = **loaded;
    const auto repository = context_.repository_settings();
    if (!repository) return fail("configuration", repository.error()), false;
    good("configuration", fmt::format("{}, {}", configuration.file.empty() ? "no file" : configuration.file.string(),
                                      counted(configuration.clusters.size(), "cluster")));
    const bool secret = configuration.s3.secret_access_key.has_value() || configuration.exports.s3.secret_access_key.has_value() ||
                        std::ranges::any_of(configuration.repositories, [](const auto& each) { return each.s3.secret_access_key.has_value(); }) ||
                        std::ranges::any_of(configuration.mirrors, [](const auto& each) { return each.s3.secret_access_key.has_value(); }) ||
                        std::ranges::any_of(configuration.clusters, [](const auto& cluster) {
                          const auto login = cluster.validation.login.value_or("");
                          return redact(cluster.connection) != cluster.connection || redact(login) != login;
                        });
    if (secret && configuration.may_be_read_by_others)
      warn("configuration secrets", "the configuration holds a password and may be read by others",
           fmt::format("chmod o-r,g-r {}", configuration.file.string()));
    if (configuration.clusters.empty())
      warn("clusters", "no cluster is configured", "add [cluster.main] with data_directory and connection");
    return true;
  }

  void examine_state_directory() {
    const auto directory = context_.state_directory();
    if (!directory) return fail("state directory", directory.error());
    if (auto made = create_directories(*directory, 0700); !made) return fail("state directory", made.error());
    const fs::path probe = *directory / ".doctor";
    if (auto written = write_file_durably(probe, as_bytes("probe"), 0600); !written)
      return fail("state directory", written.error());
    std::error_code ignored;
    fs::remove(probe, ignored);
    good("state directory", directory->string());
  }

  bool examine_repository() {
    const auto place = context_.place();
    if (!place) return fail("repository", place.error()), false;
    const bool by_service = (*place)->encryption.needs_service() && !(*place)->encryption.key_file;
    const std::string key = by_service ? "key service" : "key file";
    if (const auto unlocks = configured_unlocks((*place)->encryption); !unlocks)
      return fail(key, unlocks.error()), false;
    const auto repository = context_.repository();
    if (!repository) return fail("repository", repository.error()), false;
    good(key, fmt::format("opens slot {} ({})", (*repository)->opened_slot(),
                                 repository::role_name((*repository)->bundle().role)));
    if (crypto::keys_are_locked())
      good("key memory", "locked, and in no core dump");
    else
      warn("key memory", "not locked: keys may be written to swap", "ulimit -l 8192, or LimitMEMLOCK=8M in the unit, for the user that runs pgmint");
    examine_slots(**repository);
    if (!(*place)->encryption.vault.empty() && (*place)->encryption.services.vault.tls_min == "1.2")
      warn("transport", "tls_min of [vault] allows TLS 1.2", "remove tls_min from [vault] once Vault speaks TLS 1.3");
    good("repository", (*place)->store->describe());
    if ((*repository)->is_mirror())
      good("repository create-if-absent", fmt::format("not tried: {}", mirror_text(**repository)));
    else if (auto probed = probe_create_if_absent(*(*place)->store, system_random()); !probed)
      fail("repository create-if-absent", probed.error());
    else
      good("repository create-if-absent", "of 16 racers one succeeded, an existing object was refused");
    if ((*place)->bucket != nullptr) examine_bucket(**place, !(*repository)->is_mirror());
    if ((*place)->log_bucket != nullptr) examine_log_bucket(**place);
    if (const auto directory = (*place)->settings.directory()) {
      examine_space(*directory);
      examine_temporary_files(*directory);
    }
    return true;
  }

  void examine_bucket(const RepositoryPlace& place, bool may_write) {
    const auto findings = cli::examine_bucket(*place.bucket, may_write, context_.cancel());
    if (!findings) return fail("bucket", findings.error());
    tell(*findings, "");
    if (may_write) examine_lock(place);
    if (place.s3.tls_min == "1.2") warn("transport", "tls_min allows TLS 1.2", "remove tls_min from [s3] or the bucket's own table once the store speaks TLS 1.3");
    if (place.s3.endpoint && place.s3.endpoint->starts_with("http://")) warn("transport", "the endpoint is without TLS: who reads along on this host sees names and sizes", "endpoint = \"https://...\" in [s3] or the bucket's own table");
  }

  void examine_log_bucket(const RepositoryPlace& place) {
    if (auto probed = probe_create_if_absent(*place.log_store, system_random()); !probed)
      fail("log create-if-absent", probed.error());
    else
      good("log create-if-absent", fmt::format("{}: of 16 racers one succeeded, an existing object was refused", place.log_store->describe()));
    const auto findings = place.log_bucket->examine();
    if (!findings) return fail("log bucket", findings.error());
    tell(*findings, "log ");
  }

  void tell(const std::vector<storage::S3Finding>& findings, std::string_view of) {
    for (const auto& finding : findings) {
      const auto name = fmt::format("{}{}", of, finding.subject);
      switch (finding.grade) {
        case storage::S3Finding::Grade::Fine: good(name, finding.detail); break;
        case storage::S3Finding::Grade::Warning: warn(name, finding.detail, finding.hint); break;
        case storage::S3Finding::Grade::Bad: fail(name, finding.detail, finding.hint, Errc::Precondition); break;
      }
    }
  }

  void examine_lock(const RepositoryPlace& place) {
    const auto rule = lock_rule(place.s3);
    if (!rule) return;
    const auto takes = place.bucket->takes_locks();
    if (takes && !*takes) return;  // told by examine_bucket()
    const auto tried = try_lock(*place.bucket, rule->mode, system_clock(), context_.cancel());
    if (!tried) return fail("object lock, tried", tried.error());
    tell({*tried}, "");
  }

  void examine_slots(repository::Repository& repository) {
    const auto slots = repository.slots();
    if (!slots) return fail("key slots", slots.error());
    std::set<std::uint32_t> generations;
    for (const auto& slot : *slots) {
      if (slot.unreadable())
        warn("key slots", fmt::format("{}: {}", slot.name, slot.note), fmt::format("bring its object back from a copy of the repository, or update pgmint; else: pgmint key remove {}", slot.name));
      else if (slot.role == repository::Role::Root)
        generations.insert(slot.root_generation);
    }
    if (generations.size() > 1)
      warn("key slots", "a rotation of the root key was cut off: what it had made and what it was to remove both open the repository",
           "pgmint key rotate --root");
  }

  /// What is too little is told with the other warnings.
  void examine_space(const fs::path& directory) {
    const auto space = space_of(directory);
    if (!space) return fail("repository space", space.error());
    if (fullness(*space, (*context_.configuration())->health.disk_free) == Fullness::Fine)
      good("repository space", fmt::format("{} free", human(ByteCount(space->free))));
  }

  void examine_temporary_files(const fs::path& directory) {
    const auto left = storage::find_temporary_files(directory, system_clock().now() - storage::kTemporaryFilesStay);
    if (!left) return fail("temporary files", left.error());
    if (left->files > 0)
      warn("temporary files", fmt::format("{} that writers which died had left, {}", counted(left->files, "file"), human(ByteCount(left->bytes))), "pgmint collect");
    else
      good("temporary files", "none is left over");
    for (const auto* folder : kWorkingFolders) {
      std::size_t files = 0;
      const auto listed = list_directory(folder, [&](const std::string&, unsigned char) -> Status {
        ++files;
        return ok();
      });
      if (listed && files > 0)
        warn("temporary files", fmt::format("{} holds {}, of other scripts: pgmint never writes there by itself, and they may be readable", folder, counted(files, "file")),
             fmt::format("look, import what is needed (pgmint import), then remove them: ls -la {}", folder));
    }
  }

  /// What the role of `connection` needs for backups: a missing right is found here, not at 01:00.
  template <class Name>
  void examine_privileges(const Name& name, postgres::Connection& connection) {
    const bool since_15 = connection.version().major >= 15;
    const auto rights = connection.query(fmt::format(
        "SELECT current_user, r.rolsuper, has_function_privilege('{}', 'EXECUTE'), has_function_privilege('pg_switch_wal()', 'EXECUTE'), "
        "pg_has_role('pg_read_all_settings', 'USAGE') FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
        since_15 ? "pg_backup_start(text,boolean)" : "pg_start_backup(text,boolean,boolean)"));
    if (!rights) return fail(name("privileges"), rights.error());
    if (rights->rows.size() != 1) return;
    const auto& row = rights->rows.front();
    const auto may = [&](std::size_t column) { return row.at(column) == "t"; };
    const auto role = row.at(0).value_or("");
    std::vector<std::string> lacks;
    if (!may(2)) lacks.emplace_back("start a backup");
    if (!may(3)) lacks.emplace_back("switch WAL");
    if (!may(4)) lacks.emplace_back("see all settings");
    if (may(1))
      good(name("privileges"), fmt::format("{} is a superuser; less is enough (pgmint roles)", role));
    else if (lacks.empty())
      good(name("privileges"), fmt::format("{} may do what a backup needs", role));
    else
      warn(name("privileges"), fmt::format("{} may not {}: backups would fail", role, fmt::join(lacks, ", nor ")), "pgmint roles --role backup | psql -X -d postgres");
  }

  void examine_server(const ClusterSettings& settings) {
    const auto name = [&](std::string_view what) { return fmt::format("{}: {}", settings.name, what); };
    const auto control = control_of(settings);
    if (!control)
      fail(name(settings.is_remote() ? "server" : "data directory"), control.error());
    else if (!settings.is_remote())
      good(name("data directory"), fmt::format("PostgreSQL {}, system identifier {}", control->version->major,
                                               control->system_identifier.value()));
    postgres::ConnectOptions options;
    options.conninfo = settings.connection;
    options.connect_timeout = std::chrono::seconds(5);
    auto connection = postgres::Connection::open(options, &context_.cancel());
    if (!connection) return fail(name("server"), connection.error());
    examine_transport(name("transport"), settings.name, connection->transport());
    const auto facts = postgres::server_facts(*connection, settings.is_remote() ? postgres::Asked::FromAfar : postgres::Asked::OnItsHost);
    if (!facts) return fail(name("server"), facts.error());
    if (settings.is_remote()) {
      examine_replication(name("replication"), options);
      examine_summaries(name("WAL summaries"), *connection);
    }
    examine_facts(name, *connection, *facts, control ? std::optional(control->system_identifier) : std::nullopt, settings.is_remote());
  }

  /// What the backup of a remote cluster comes over: tried, since the role, pg_hba.conf and max_wal_senders all have a say.
  void examine_replication(std::string name, postgres::ConnectOptions options) {
    options.replication = true;
    auto session = postgres::Connection::open(options, &context_.cancel());
    if (!session) return fail(std::move(name), postgres::with_replication_hint(std::move(session).failure()));
    good(std::move(name), "the role is let in: the server would send its files");
  }

  /// By them a server of 17 and later knows what it need not send.
  void examine_summaries(std::string name, postgres::Connection& connection) {
    if (postgres::version_lacks_summaries(connection)) return;
    const auto setting = connection.value("SELECT pg_catalog.current_setting('summarize_wal')");
    if (!setting) return fail(std::move(name), setting.error());
    if (*setting == "on") return good(std::move(name), "summarize_wal is on: an incremental backup receives what changed, not all files");
    warn(std::move(name), "summarize_wal is off: the server sends all files for every backup, also for an incremental one; turned on, it saves network and the server's reads",
         "on the server: ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf()");
  }

  /// With less than verify-full whoever sits in between may answer in the server's place, and is told the password.
  void examine_transport(std::string name, const std::string& cluster, const postgres::Transport& transport) {
    if (transport.is_local()) return;
    const auto what = fmt::format("the connection to {} goes over the network with sslmode={}{}", transport.host, transport.sslmode, transport.encrypted ? "" : ", and is not encrypted");
    if (transport.sslmode == "verify-full" && transport.encrypted) return good(std::move(name), what);
    warn(std::move(name), what + ": another machine could answer in its place", fmt::format("add sslmode=verify-full and sslrootcert=FILE to connection in [cluster.{}]", cluster));
  }

  template <class Name>
  void examine_facts(const Name& name, postgres::Connection& connection, const postgres::ServerFacts& facts,
                     std::optional<postgres::SystemIdentifier> identifier, bool is_remote) {
    if (identifier && *identifier != facts.system_identifier)
      return fail(name("server"),
                  fmt::format("the connection leads to system identifier {}, the data directory has {}",
                              facts.system_identifier.value(), identifier->value()),
                  "make data_directory and connection mean the same server", Errc::Precondition);
    const auto& version = connection.version();
    if (facts.version_num % 100 < version.minimum_minor)
      warn(name("server"),
           fmt::format("PostgreSQL {}.{} has known defects: {}", version.major, facts.version_num % 100,
                       version.minimum_reason),
           fmt::format("update to {}.{} or later", version.major, version.minimum_minor));
    else
      good(name("server"), fmt::format("PostgreSQL {}.{}{}", version.major, facts.version_num % 100,
                                       facts.in_recovery ? ", a standby" : ""));
    if (!is_remote) examine_privileges(name, connection);
    examine_archiving(name, facts, is_remote);
    if (!facts.data_checksums)
      warn(name("page checksums"), "off: damage in pages cannot be seen",
           "pg_checksums --enable, with the server stopped");
    else
      good(name("page checksums"), "on");
    if (const auto now = connection.value(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"))
      if (const auto time = parse_time(*now)) examine_clock(name("clock"), *time);
  }

  template <class Name>
  void examine_archiving(const Name& name, const postgres::ServerFacts& facts, bool is_remote) {
    if (facts.wal_level == "minimal")
      fail(name("wal_level"), "minimal: WAL does not hold what a recovery needs", "set wal_level = replica and restart",
           Errc::Precondition);
    // Such a backup carries its own WAL, and has nothing behind its end.
    if (facts.archive_mode == "off" && is_remote)
      return warn(name("archiving"), "archive_mode is off: backups carry their own WAL, and nothing after them can be recovered",
                  "on the server set archive_mode = on and archive_command = 'pgmint wal push \"%p\"', then restart");
    if (facts.archive_mode == "off")
      return fail(
          name("archiving"), "archive_mode is off: no backup can finish",
          fmt::format("set archive_mode = on and archive_command = '{}', then restart", archive_command_line(context_)),
          Errc::Precondition);
    if (facts.in_recovery && facts.archive_mode == "on")
      good(name("archiving"), "archive_mode = on: this standby leaves archiving to its primary");
    else if (!facts.archive_library.empty())
      warn(name("archiving"), fmt::format("archive_library {} archives, not pgmint", facts.archive_library),
           "set archive_command instead");
    else if (facts.archive_command.find("wal push") == std::string::npos)
      fail(name("archiving"), fmt::format("archive_command is '{}'", redact(facts.archive_command)),
           fmt::format("set archive_command = '{}'", archive_command_line(context_)), Errc::Precondition);
    else
      good(name("archiving"), "archive_mode and archive_command are set");
    if (!facts.full_page_writes)
      warn(name("full_page_writes"), "off: a crash can tear pages", "set full_page_writes = on");
  }

  void examine_clock(std::string name, TimePoint server) {
    const auto skew =
        std::chrono::abs(std::chrono::duration_cast<std::chrono::microseconds>(system_clock().now() - server));
    if (skew > kClockSkewMax)
      warn(std::move(name), fmt::format("the server's clock differs by {}", human(skew)),
           "let both hosts keep their time by NTP");
    else
      good(std::move(name), "agrees with the server's");
  }

  /// The key opens a slot; whether it also opens data is another question.
  void examine_decryption(const ClusterHealth& health) {
    if (health.backups.empty()) return;
    const auto& newest = health.backups.back();
    if (newest.root)
      good(fmt::format("{}: decryption", health.name), fmt::format("the manifest of {} opens", newest.snap.name));
    if (health.proofs.packs == 0)
      warn(fmt::format("{}: last verified", health.name), "no stored byte was ever read back", fmt::format("pgmint verify {} --read-data", health.name));
    else
      good(fmt::format("{}: last verified", health.name), proofs_text(health.proofs));
    if (!health.proof)
      warn(fmt::format("{}: last restored", health.name), "nobody has ever restored these backups and held the server against them",
           fmt::format("pgmint restore {} --to DIR, start it, then pgmint validate {} --connection CONNINFO", health.name, health.name));
    else
      good(fmt::format("{}: last restored", health.name), proof_text(health.proof));
  }

  /// Backups that nobody starts are none. Who uses cron has the daemon's place filled otherwise, which cannot be seen from here.
  void examine_schedule() {
    const auto state = context_.state_directory();
    if (!state || (*context_.configuration())->clusters.empty()) return;
    const auto daemon = service::running_daemon(*state);
    if (!daemon) return fail("schedule", daemon.error());
    if (*daemon)
      good("schedule", fmt::format("the daemon runs, process {}", **daemon));
    else
      warn("schedule", "no daemon runs with this state directory: unless cron does, nothing begins a backup", "pgmint schedule install");
    examine_unit();
  }

  /// A unit names the places of the configuration that it was written for. What came later the daemon cannot reach.
  void examine_unit() {
    const auto installed = read_text_file(fs::path(service::kUnitDirectory) / service::kUnitName, kUnitMax);
    if (!installed || !installed->starts_with(service::kWrittenByUs)) return;
    const auto wanted = unit_text_now(service::user_of(*installed));
    if (!wanted) return warn("service", fmt::format("whether {} lets the daemon reach what it needs is not known: {}", service::kUnitName, wanted.failure().describe()), wanted.failure().hint());
    if (const auto kept = service::withheld(*installed, *wanted); !kept.empty())
      warn("service", fmt::format("{} keeps from the daemon what the configuration names by now: {}", service::kUnitName, fmt::join(kept, ", ")),
           "sudo pgmint schedule install && sudo systemctl daemon-reload && sudo systemctl restart pgmint");
  }

  Result<std::string> unit_text_now(const std::string& user) {
    return service::unit_file(TRY(unit_facts(context_, TRY(service_user(*TRY(context_.configuration()), user)))));
  }

  void examine_health() {
    const auto all = health_of_all(context_, std::nullopt);
    if (!all) return fail("backups", all.error());
    for (const auto& health : *all) {
      bool fine = true;
      for (const auto& problem : health.problems) {
        if (problem.code == "server-unreachable") continue;  // told above
        fine = false;
        const bool soft = !problem.breach || problem.code == "no-backup";
        if (soft)
          warn(fmt::format("{}: {}", health.name, problem.code), problem.message, problem.hint);
        else
          fail(fmt::format("{}: {}", health.name, problem.code), problem.message, problem.hint,
               health.unreadable             ? health.unreadable->code()
               : problem.code == "wal-gap" ? Errc::Corruption
                                           : Errc::Objective);
      }
      examine_decryption(health);
      if (fine)
        good(fmt::format("{}: backups", health.name), counted(health.backups.size(), "backup") + ", no WAL missing");
    }
    const auto warnings = repository_warnings(context_);
    if (!warnings) return fail("keys", warnings.error());
    for (const auto& warning : *warnings) warn(warning.code, warning.message, warning.hint);
    examine_mirrors();
  }

  void examine_mirrors() {
    const auto repository = context_.repository();
    const auto mirrors = look_at_mirrors(context_);
    if (!repository || !mirrors) return fail("mirrors", !mirrors ? mirrors.error() : repository.error());
    const auto problems = mirror_problems(**repository, *mirrors, nullptr);
    for (const auto& problem : problems) warn(problem.code, problem.message, problem.hint);
    for (const auto& mirror : *mirrors)
      if (std::ranges::none_of(problems, [&](const auto& problem) { return problem.subject == mirror.settings->name; })) good("mirror", describe(mirror));
  }

  /// By what was last sent: an examination does not write to people.
  void examine_alerts() {
    const auto& channels = (*context_.configuration())->alerts;
    if (channels.empty()) return;
    const auto store = alert_store(context_);
    if (!store) return fail("alerts", store.error());
    const auto book = store->load();
    for (const auto& channel : channels) {
      const auto name = fmt::format("alert channel {} delivers", channel.rules.name);
      const auto hint = fmt::format("pgmint alert test {}", channel.rules.name);
      const auto known = book.channels().find(channel.rules.name);
      if (known == book.channels().end() || (!known->second.delivered && !known->second.failing_since))
        warn(name, fmt::format("nothing was sent yet: {}", channel.describe()), hint);
      else if (known->second.failing_since)
        fail(name, fmt::format("since {}: {}", readable_time(*known->second.failing_since), known->second.error), hint, Errc::Io);
      else
        good(name, fmt::format("{}, last {}", channel.describe(), ago(*known->second.delivered)));
    }
    if (book.saved() == TimePoint{} || system_clock().now() - book.saved() > kAlertCheckMax)
      warn("alert check", book.saved() == TimePoint{} ? std::string("never ran on this host") : fmt::format("last ran {}", ago(book.saved())),
           "run the daemon, or pgmint alert check every five minutes from cron");
  }

  Context& context_;
  std::vector<Check> checks_;
};

Result<int> run(Context& context) {
  context.look_past_copies();
  Examination examination(context);
  TRY(examination.run());
  Json checks = Json::array();
  int code = 0;
  for (const auto& check : examination.checks()) {
    checks.push_back({{"name", check.name},
                      {"state", state_name(check.state)},
                      {"detail", redact(check.detail)},
                      {"hint", check.hint.empty() ? Json(nullptr) : Json(redact(check.hint))}});
    context.output().line(fmt::format("{:<8} {}: {}", state_name(check.state), check.name, redact(check.detail)));
    if (check.state != State::Ok && !check.hint.empty())
      context.output().line(fmt::format("         next: {}", redact(check.hint)));
    if (check.state == State::Failed && code == 0) code = check.code;
  }
  context.output().document({{"ok", code == 0}, {"checks", std::move(checks)}});
  return code;
}

}  // namespace

const CommandSpec& doctor_command() {
  static const CommandSpec command = {
      .verb = "doctor",
      .summary = "examine configuration, keys, repository, server and archiving",
      .description = {"Goes through everything that has to be right for backups and restores to work, and says for "
                      "each whether it is, and what to do where it is not. "
                      "Whether the repository's file system keeps its promises is tried out with an object that is "
                      "removed again."},
      .positionals = {},
      .options = {},
      .exits = {{9, "PostgreSQL could not be reached or refused."}, {10, "An objective is breached."}},
      .examples = {{"pgmint doctor",
                    "After installation, after each change, and when status complains. The exit status is that of the "
                    "first failed check."}},
      .see_also = {"status", "verify"},
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
