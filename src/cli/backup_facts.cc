#include "cli/backup_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "logical/dump.h"
#include "postgres/lsn.h"
#include "postgres/parse_number.h"

namespace pgmint::cli {
namespace {

/// 150020; of an imported dump by the words in its archive, "15.20 (Debian 15.20-1)". A root that has neither gives the major alone.
int server_version(const repository::ManifestRoot& root) {
  int by_words = 0;
  for (const auto& [name, value] : root.settings) {
    int number = 0, minor = 0;
    const auto* const end = value.data() + value.size();
    const auto [rest, error] = std::from_chars(value.data(), end, number);
    if (error != std::errc()) continue;
    if (name == "server_version_num" && number > 0) return number;
    if (name == "server_version" && rest != end && *rest == '.' && std::from_chars(rest + 1, end, minor).ec == std::errc()) by_words = number * 10'000 + minor;
  }
  return by_words > 0 ? by_words : static_cast<int>(root.pg_major) * 10'000;
}

/// null where the backup has no such setting, or not as a number.
Json number_json(const repository::ManifestRoot* root, std::string_view wanted) {
  if (root != nullptr)
    for (const auto& [name, value] : root->settings)
      if (name == wanted)
        if (const auto number = postgres::parse_number<std::uint64_t>(value, 10)) return *number;
  return nullptr;
}

/// null where the backup has no such setting.
Json setting_json(const repository::ManifestRoot* root, std::string_view wanted) {
  if (root != nullptr)
    for (const auto& [name, value] : root->settings)
      if (name == wanted) return value;
  return nullptr;
}

Json lsn_json(std::uint64_t lsn) {
  return postgres::format(postgres::Lsn(lsn));
}

/// Backups are few hundred, holds fewer: one walk over the log for their times.
Status note_hold_times(repository::Cluster& cluster, std::vector<BackupFacts>& backups) {
  if (std::ranges::none_of(backups, [](const BackupFacts& b) { return b.hold.has_value(); })) return ok();
  return cluster.log().for_each([&](std::uint64_t, const Result<repository::LogEntry>& entry) -> Status {
    if (!entry) return ok();
    if (const auto* hold = std::get_if<repository::HoldEntry>(&entry->content))
      for (auto& backup : backups)
        if (backup.snap.session == hold->snapshot && backup.hold) backup.held_since = entry->time;
    return ok();
  });
}

Result<BackupFacts> read_facts(repository::Cluster& cluster, const repository::LiveSnapshot& snapshot) {
  BackupFacts facts;
  facts.snap = snapshot.snap;
  facts.cluster = cluster.state().cluster_name();
  facts.committed = snapshot.committed;
  facts.hold = snapshot.hold;
  auto root = repository::read_root(cluster.store(), cluster.context(), snapshot.snap.session, cluster.keys());
  if (root) {
    facts.root = std::move(*root);
    return facts;
  }
  const auto code = root.error().code();
  if (code == Errc::Storage || code == Errc::Cancelled) return std::move(root.error());
  // A maintenance key may not read manifests: that is no damage.
  if (code == Errc::Key && cluster.keys().map_key.is_zero()) return facts;
  facts.problem = root.error().describe();
  return facts;
}

}  // namespace

std::string hold_text(const repository::Hold& hold) {
  if (hold.is_over(system_clock().now())) return fmt::format("was held until {}: {}", readable_time(*hold.until), hold.reason);
  return hold.until ? fmt::format("held until {}: {}", readable_time(*hold.until), hold.reason) : fmt::format("held: {}", hold.reason);
}

bool needs_wal(const BackupFacts& backup) {
  return backup.snap.type == repository::BackupType::Full || backup.snap.type == repository::BackupType::Incremental;
}

std::optional<TimePoint::duration> BackupFacts::took() const {
  if (!root || !setting_json(&*root, logical::kImportedFromSetting).is_null()) return std::nullopt;
  return root->finished - root->started;
}

TimePoint BackupFacts::started() const {
  if (root) return root->started;
  const auto& name = snap.name;  // 20261122T084001Z-full
  if (name.size() > 16 && name[8] == 'T' && name[15] == 'Z')
    if (const auto time =
            parse_time(fmt::format("{}-{}-{}T{}:{}:{}Z", name.substr(0, 4), name.substr(4, 2), name.substr(6, 2),
                                   name.substr(9, 2), name.substr(11, 2), name.substr(13, 2))))
      return *time;
  return committed;
}

Result<BackupFacts> facts_of(repository::Cluster& cluster, const repository::LiveSnapshot& snapshot) {
  std::vector<BackupFacts> one;
  one.push_back(TRY(read_facts(cluster, snapshot)));
  TRY(note_hold_times(cluster, one));
  return std::move(one.front());
}

Status for_each_backup(repository::Cluster& cluster, const std::function<void(const BackupFacts&)>& visit) {
  for (const auto& [session, snapshot] : cluster.state().snapshots()) visit(TRY(read_facts(cluster, snapshot)));
  return ok();
}

Result<std::vector<BackupFacts>> backups_of(repository::Cluster& cluster) {
  std::vector<BackupFacts> backups;
  for (const auto& [session, snapshot] : cluster.state().snapshots())
    backups.push_back(TRY(read_facts(cluster, snapshot)));
  TRY(note_hold_times(cluster, backups));
  std::ranges::sort(backups, [](const BackupFacts& a, const BackupFacts& b) {
    return std::pair(a.started(), a.snap.name) < std::pair(b.started(), b.snap.name);
  });
  return backups;
}

std::optional<WalNames> wal_names(const BackupFacts& backup) {
  if (!backup.root || backup.snap.stop_lsn == 0) return std::nullopt;
  const auto size = postgres::WalSegmentSize::of(backup.root->wal_segment_size);
  if (!size) return std::nullopt;
  const postgres::TimelineId timeline(backup.snap.timeline);
  return WalNames{
      postgres::segment_file_name(timeline, postgres::segment_of(postgres::Lsn(backup.snap.start_lsn), *size), *size),
      postgres::segment_file_name(timeline, postgres::segment_before(postgres::Lsn(backup.snap.stop_lsn), *size),
                                  *size)};
}

Json to_json(const BackupFacts& backup) {
  Json json;
  const auto& snap = backup.snap;
  const auto* root = backup.root ? &*backup.root : nullptr;
  const auto names = wal_names(backup);
  json["name"] = snap.name;
  json["cluster"] = backup.cluster;
  json["type"] = repository::backup_type_name(snap.type);
  json["started"] = format_rfc3339(backup.started());
  json["finished"] = format_rfc3339(root != nullptr ? root->finished : backup.committed);
  const auto took = backup.took();
  json["duration_s"] = took ? Json(std::chrono::duration<double>(*took).count()) : Json(nullptr);
  json["size_bytes"] = root == nullptr ? Json(nullptr) : Json(root->total_bytes);
  json["stored_bytes"] = root == nullptr ? Json(nullptr) : Json(root->stored_bytes);
  json["files"] = root == nullptr ? Json(nullptr) : Json(root->file_count);
  json["timeline"] = snap.timeline;
  json["start_lsn"] = lsn_json(snap.start_lsn);
  json["stop_lsn"] = lsn_json(snap.stop_lsn);
  json["wal_start"] = names ? Json(names->first) : Json(nullptr);
  json["wal_stop"] = names ? Json(names->last) : Json(nullptr);
  json["system_identifier"] = std::to_string(snap.system_id);
  json["server_version"] = root == nullptr ? Json(nullptr) : Json(server_version(*root));
  json["parent"] = setting_json(root, "parent");
  json["copied_from"] = setting_json(root, "copied_from");
  json["imported_from"] = setting_json(root, logical::kImportedFromSetting);
  json["incremental_by"] = setting_json(root, "incremental_by");
  json["full_because"] = setting_json(root, "full_because");
  json["received_bytes"] = number_json(root, "received_bytes");
  json["from_standby"] = root == nullptr ? Json(nullptr) : Json(root->from_standby);
  json["note"] = root == nullptr || root->note.empty() ? Json(nullptr) : Json(root->note);
  json["held"] = nullptr;
  if (backup.hold) {
    json["held"] = {{"reason", backup.hold->reason}};
    json["held"]["until"] = backup.hold->until ? Json(format_rfc3339(*backup.hold->until)) : Json(nullptr);
    json["held"]["since"] = backup.held_since ? Json(format_rfc3339(*backup.held_since)) : Json(nullptr);
  }
  json["damaged_pages_count"] = root == nullptr ? Json(nullptr) : Json(root->bad_pages.size());
  json["problem"] = backup.problem.empty() ? Json(nullptr) : Json(backup.problem);
  return json;
}

std::string server_version_text(const repository::ManifestRoot& root) {
  const int number = server_version(root);
  return fmt::format("{}.{}", number / 10'000, number % 10'000);
}

std::vector<std::string> backup_headings() {
  return {"NAME", "TYPE", "STARTED", ">TOOK", ">SIZE", ">STORED", "WAL RANGE", "REMARKS"};
}

std::vector<std::string> backup_row(const BackupFacts& backup) {
  std::vector<std::string> remarks;
  if (backup.hold) remarks.push_back(hold_text(*backup.hold));
  if (!backup.problem.empty()) remarks.emplace_back("MANIFEST DAMAGED");
  std::vector<std::string> row = {backup.snap.name, std::string(repository::backup_type_name(backup.snap.type)),
                                  readable_time(backup.started())};
  if (const auto& root = backup.root) {
    if (!root->bad_pages.empty()) remarks.push_back(fmt::format("{} damaged pages", root->bad_pages.size()));
    if (root->from_standby) remarks.emplace_back("from a standby");
    const auto took = backup.took();
    if (!took) remarks.emplace_back("imported");
    if (!root->note.empty()) remarks.push_back(root->note);
    row.push_back(took ? human(*took) : "-");
    row.push_back(human(ByteCount(root->total_bytes)));
    row.push_back(human(ByteCount(root->stored_bytes)));
  } else {
    row.insert(row.end(), 3, "?");
  }
  const auto names = wal_names(backup);
  row.push_back(!names                        ? std::string(needs_wal(backup) ? "?" : "-")
                : names->first == names->last ? names->first
                                              : fmt::format("{} to {}", names->first, names->last));
  row.push_back(fmt::format("{}", fmt::join(remarks, "; ")));
  return row;
}

std::string readable_time(TimePoint time) {
  return format_postgres(std::chrono::floor<std::chrono::seconds>(time));
}

}  // namespace pgmint::cli
