#include "restore/restore.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/units.h"
#include "postgres/backup_label.h"
#include "postgres/control_file.h"
#include "postgres/version_table.h"
#include "repository/session.h"
#include "restore/checks.h"
#include "restore/copy.h"
#include "restore/measured.h"
#include "restore/prepare.h"
#include "restore/recovery_settings.h"

namespace pgmint::restore {
namespace {

/// Reports with its own clock; keeps the callback optional.
class Reporter {
 public:
  Reporter(const ProgressCallback& callback, std::uint64_t files, std::uint64_t bytes) : callback_(callback), files_(files), bytes_(bytes) {}
  void operator()(Phase phase, const CopyCounters& counters, std::string detail = {}) {
    if (!callback_) return;
    callback_({phase, counters.bytes, bytes_, counters.read_bytes, counters.files, files_, elapsed(), std::move(detail)});
  }
  void set_totals(std::uint64_t files, std::uint64_t bytes) {
    files_ = files;
    bytes_ = bytes;
  }
  std::chrono::microseconds elapsed() const {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started_);
  }

 private:
  const ProgressCallback& callback_;
  std::uint64_t files_, bytes_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

Status write_owned(const TargetPlan& target, const fs::path& path, ByteView data, mode_t mode) {
  TRY(write_file_durably(path, data, mode));
  if (target.owner && ::chown(path.c_str(), target.owner->uid, target.owner->gid) != 0)
    return errno_error(errno, fmt::format("chown {}", path.string()));
  return ok();
}

Status make_owned_directory(const TargetPlan& target, const fs::path& path) {
  TRY(create_directories(path, 0700));
  if (target.owner && ::chown(path.c_str(), target.owner->uid, target.owner->gid) != 0)
    return errno_error(errno, fmt::format("chown {}", path.string()));
  return ok();
}

/// Configuration from outside the data directory (Debian keeps it in /etc) goes into the restored directory, where the server
/// finds it: a restore must start without hunting for files.
Status place_configuration(const TargetPlan& target, const HeldBack& held, const repository::ManifestRoot& root, RestoreReport& report) {
  if (held.configuration.empty()) return ok();
  auto setting = [&](std::string_view name) -> std::string {
    for (const auto& [key, value] : root.settings)
      if (key == name) return value;
    return {};
  };
  const std::string config_file = setting("config_file"), hba_file = setting("hba_file"), ident_file = setting("ident_file");
  const fs::path base = fs::path(config_file).parent_path();
  for (std::size_t i = 0; i < held.configuration.size(); ++i) {
    const auto& original = held.configuration[i];
    std::string text = held.configuration_text[i];
    fs::path to;
    if (original == config_file) {
      to = target.to / "postgresql.conf";
      text = usable_main_conf(text, true);
    } else if (original == hba_file) {
      to = target.to / "pg_hba.conf";
    } else if (original == ident_file) {
      to = target.to / "pg_ident.conf";
    } else {
      const auto relative = fs::path(original).lexically_relative(base);
      const bool inside = !base.empty() && !relative.empty() && relative.native().substr(0, 2) != "..";
      to = inside ? target.to / relative : target.to / "pgmint-configuration" / fs::path(original).relative_path();
      text = usable_main_conf(text, true);
    }
    if (TRY(stat_if_exists(to))) {
      to = target.to / "pgmint-configuration" / fs::path(original).relative_path();  // the data directory has its own
    }
    for (fs::path made = to.parent_path(), last = target.to; made != last && made.native().size() > last.native().size();) {
      TRY(make_owned_directory(target, made));
      break;
    }
    TRY(write_owned(target, to, as_bytes(text), 0600));
    report.configuration_files.push_back(fmt::format("{} -> {}", original, to.string()));
    if (original == config_file) {
      // include_dir of a directory that is not there would keep the server from starting.
      if (auto include = postgres::find_setting(text, "include_dir"); include && !include->empty() && include->front() != '/')
        TRY(make_owned_directory(target, target.to / *include));
    }
  }
  return ok();
}

/// Everything that PostgreSQL reads before pg_control; pg_control itself last, since without it nothing starts.
Status finish(const RestoreRequest& request, const Choice& choice, const TargetPlan& target, const HeldBack& held, RestoreReport& report) {
  const auto& root = choice.root;
  TRY(write_owned(target, target.to / "backup_label", root.backup_label, 0600));
  if (!target.tablespaces.empty()) {
    // The server recreates links from this file, over ours: it must name the new places.
    std::vector<postgres::TablespaceMapEntry> entries;
    for (const auto& [oid, location] : target.tablespaces) entries.push_back({postgres::Oid(oid), location});
    const auto* version = postgres::find_version(static_cast<int>(root.pg_major));
    PGMINT_ASSERT(version != nullptr);  // survey_manifest has looked
    const auto map = TRY(postgres::format_tablespace_map(entries, *version));
    TRY(write_owned(target, target.to / "tablespace_map", as_bytes(map), 0600));
  }
  for (const auto* directory : {"pg_wal", "pg_wal/archive_status"}) TRY(make_owned_directory(target, target.to / directory));
  TRY(place_configuration(target, held, root, report));

  const auto main_conf = target.to / "postgresql.conf";
  if (auto text = read_text_file(main_conf, 16 << 20)) {
    const auto usable = usable_main_conf(*text, false);
    if (usable != *text) {
      TRY(write_owned(target, main_conf, as_bytes(usable), 0600));
      report.warnings.push_back("postgresql.conf named a recovery target; it was taken out of the restored copy");
    }
  }
  const auto auto_conf = target.to / "postgresql.auto.conf";
  auto carried = read_text_file(auto_conf, 16 << 20);
  if (!carried && carried.failure().code() != Errc::NotFound) return std::move(carried).failure();
  const auto timeline = choice.history.target();
  const auto restore_command =
      choice.last_segment ? fmt::format("{} --until {}", request.restore_command, *choice.last_segment) : request.restore_command;
  auto settings = recovery_settings(recovery_target(request.target, root), request.action, timeline, restore_command, report.clone);
  // Without it recovery panics over a directory in pg_tblspc (xlogrecovery.c, CheckTablespaceDirectory).
  if (std::any_of(root.tablespaces.begin(), root.tablespaces.end(), [](const auto& t) { return t.location.empty(); }))
    settings.push_back({"allow_in_place_tablespaces", "on"});
  TRY(write_owned(target, auto_conf, as_bytes(TRY(recovery_auto_conf(carried ? *carried : "", settings, root.name))), 0600));
  TRY(write_owned(target, target.to / "recovery.signal", {}, 0600));
  TRY(make_owned_directory(target, target.to / "global"));
  TRY(write_owned(target, target.to / "global/pg_control", held.control_file, held.control_mode));
  for (auto it = target.new_roots.rbegin(); it != target.new_roots.rend(); ++it) {
    const auto marker = *it / target.marker();
    if (::unlink(marker.c_str()) != 0) return errno_error(errno, fmt::format("remove {}", marker.string()));
    TRY(sync_directory(*it));
  }
  return ok();
}

void note_environment(const repository::ManifestRoot& root, const HeldBack& held, RestoreReport& report) {
  auto control = postgres::parse_control_file(held.control_file);
  if (control && control->system_identifier.value() != root.system_id)
    report.warnings.push_back("pg_control names another system identifier than the manifest");
  if (!root.bad_pages.empty())
    report.warnings.push_back(fmt::format("{} page(s) were damaged when the backup was taken; pgmint show {} names them", root.bad_pages.size(), root.name));
  report.warnings.push_back("replication slots are not part of a backup: create them anew where they are needed");
}

}  // namespace

std::string_view phase_name(Phase phase) {
  switch (phase) {
    case Phase::Choose: return "choose";
    case Phase::Preflight: return "preflight";
    case Phase::Copy: return "copy";
    case Phase::Sync: return "sync";
    case Phase::Finish: return "finish";
  }
  return "restore";
}

Result<RestoreReport> run(const RestoreRequest& request) {
  RestoreReport report;
  report.target = request.target;
  Reporter progress(request.progress, 0, 0);
  CopyCounters counters;

  const auto prepared = TRY(prepare(request, [&](Step step, const std::string& backup) {
    if (step == Step::Backup || step == Step::Manifest) progress(step == Step::Backup ? Phase::Choose : Phase::Preflight, counters, backup);
  }));
  const auto& choice = prepared.choice;
  const auto& root = choice.root;
  PGMINT_ASSERT(prepared.target);  // the request names a place
  const auto& target = *prepared.target;
  report.backup = root.name;
  report.timeline = choice.history.target();
  report.warnings = choice.warnings;
  // The server may run elsewhere, so that none of it is a reason to refuse.
  for (const auto& check : check_this_host(root, request.bin_directory))
    if (check.state == policy::CheckState::Warning) report.warnings.push_back(fmt::format("{}: {}", check.name, check.detail));
  report.clone = target.clone && !request.keep_archiving;
  progress.set_totals(prepared.survey.files, prepared.survey.bytes.total);

  std::string pin_warning;
  if (!request.from_manifest) {
    // The pin outlives this process on purpose: recovery goes on after it. Its lease ends it.
    repository::ReadPin::take(request.cluster, root.session, std::chrono::hours(24), &pin_warning);
    if (!pin_warning.empty()) report.warnings.push_back(pin_warning);
  }

  CopyJob job{request.cluster, root, target, request.workers, request.max_rate, request.cancel,
              [&](const CopyCounters& now) { progress(Phase::Copy, now); }};
  std::chrono::microseconds copied{};
  auto written = [&]() -> Status {
    const auto before = progress.elapsed();
    auto held = TRY(copy_files(job, counters));
    copied = progress.elapsed() - before;
    // What the copy holds back is written here.
    report.files = counters.files + 1 + held.configuration.size();
    report.bytes = counters.bytes + held.control_file.size();
    for (const auto& text : held.configuration_text) report.bytes += text.size();
    progress(Phase::Finish, counters);
    for (auto& warning : held.warnings) report.warnings.push_back(std::move(warning));
    note_environment(root, held, report);
    return finish(request, choice, target, held, report);
  }();
  // Only a copy that was not yet complete is taken back: with pg_control in place it is a database.
  if (!written && target.delta && ::access((target.to / "global/pg_control").c_str(), F_OK) != 0)
    return std::move(written).failure().with_context("restore failed, and the server cannot start on the target; the same command with --delta goes on with what is there");
  if (!written && ::access((target.to / "global/pg_control").c_str(), F_OK) != 0) {
    const auto stayed = undo_copy(target);
    auto error = std::move(written).failure();
    if (stayed.empty()) return std::move(error).with_context("restore failed, what it had written was removed");
    return std::move(error).with_context(fmt::format("restore failed, and {} could not be removed", stayed.front()));
  }
  if (!written) return std::move(written).failure();
  report.read_bytes = counters.read_bytes;
  report.delta = target.delta;
  report.kept_bytes = counters.kept_bytes;
  report.elapsed = progress.elapsed();
  if (!request.from_manifest && !request.cluster.repository().is_mirror()) {
    auto detail = fmt::format("{} to {} ({})", root.name, target.to.string(), describe(request.target));
    // What was there already, or was held back, says nothing of how long another restore takes.
    if (!target.delta && !request.max_rate) detail += format_measure({report.bytes, copied});
    repository::AuditEntry audit{std::string(kRestoreEvent), std::move(detail)};
    if (auto logged = request.cluster.log().append(request.cluster.actor(), repository::EntryContent(audit)); !logged)
      report.warnings.push_back("the restore could not be written to the audit log: " + logged.failure().describe());
  }
  return report;
}

}  // namespace pgmint::restore
