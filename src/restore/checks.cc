#include "restore/checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gnu/libc-version.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/units.h"
#include "postgres/contents.h"
#include "restore/icu.h"

namespace pgmint::restore {
namespace {

using policy::Check;
using policy::CheckState;

std::string_view step_text(Step step) {
  switch (step) {
    case Step::Backup: return "backup and WAL";
    case Step::Manifest: return "manifest";
    case Step::Packs: return "packs";
    case Step::Place: return "target and space";
  }
  return "target and space";
}

/// One line a step that went well.
std::vector<Check> describe_prepared(const Prepared& prepared) {
  const auto& root = prepared.choice.root;
  std::vector<Check> checks;
  checks.push_back({std::string(step_text(Step::Backup)), CheckState::Ok, fmt::format("{}, timeline {}", root.name, prepared.choice.history.target().value())});
  checks.push_back({std::string(step_text(Step::Manifest)), root.bad_pages.empty() ? CheckState::Ok : CheckState::Warning,
                    root.bad_pages.empty() ? fmt::format("{} files", prepared.survey.files)
                                           : fmt::format("{} pages were damaged when the backup was taken; pgmint show {} names them", root.bad_pages.size(), root.name)});
  checks.push_back({std::string(step_text(Step::Packs)), CheckState::Ok, "all are there, in their size"});
  return checks;
}

std::vector<std::string> settings_of(const repository::ManifestRoot& root, std::string_view wanted) {
  std::vector<std::string> values;
  for (const auto& [name, value] : root.settings)
    if (name == wanted && !value.empty()) values.push_back(value);
  return values;
}

/// Every database of the origin did, as far as the C library is concerned. Without any that is known nobody can say so.
bool sorts_by_code_points(const repository::ManifestRoot& root) {
  const auto collations = settings_of(root, "database_collation");  // "shop=C.UTF-8 " and the version
  return !collations.empty() && std::ranges::all_of(collations, [](const std::string& line) {
    const auto begin = line.rfind('=') + 1;
    return postgres::sorts_alike_everywhere(std::string_view(line).substr(begin, line.find(' ', begin) - begin));
  });
}

/// nullopt: nothing in the backup is sorted by ICU, as far as it says.
std::optional<Check> check_icu(const repository::ManifestRoot& root, const Host& host) {
  if (!asks_for_icu(root)) return std::nullopt;
  const auto recorded = settings_of(root, "icu_version").front();
  const auto contents = postgres::parse_contents_settings(root.settings);
  const bool known = contents && contents->icu_databases && !contents->icu_databases->empty();
  const auto who = known ? fmt::format("of {}", fmt::join(*contents->icu_databases, ", ")) : std::string("of databases that sort by it, if any do: the backup does not say");
  Check check{"collations of ICU", CheckState::Ok, fmt::format("version {}, as the backup's", recorded)};
  if (!host.icu_version) {
    check = {check.name, CheckState::Unknown, fmt::format("the backup's are of version {}, {}; those of this host are not known: pgmint validate tells on the running server", recorded, who)};
  } else if (host.icu_version->empty()) {
    check = {check.name, CheckState::Warning, fmt::format("the server programs here are built without ICU, which the backup needs: {}", who)};
  } else if (*host.icu_version != recorded) {
    check = {check.name, CheckState::Warning,
             fmt::format("their version is {} here and was {} in the backup: ICU may sort text in another order, and indexes on such text would be corrupt, {}; where the server runs on "
                         "this host: REINDEX what uses them, then ALTER COLLATION ... REFRESH VERSION, and for a database that sorts by ICU itself ALTER DATABASE ... REFRESH COLLATION VERSION",
                         *host.icu_version, recorded, who)};
  }
  return check;
}

}  // namespace

bool asks_for_icu(const repository::ManifestRoot& root) {
  if (settings_of(root, "icu_version").empty()) return false;
  const auto contents = postgres::parse_contents_settings(root.settings);
  if (!contents || !contents->icu_databases || !contents->icu_databases->empty()) return true;
  return !std::ranges::all_of(contents->databases, &postgres::DatabaseContents::read);
}

Host this_host(int major, const fs::path& bin_directory) {
  Host host;
  host.libc_version = ::gnu_get_libc_version();
  std::vector<fs::path> places{fmt::format("/usr/lib/postgresql/{}/bin", major), fmt::format("/usr/pgsql-{}/bin", major)};
  if (!bin_directory.empty()) places.insert(places.begin(), bin_directory);
  for (const auto& place : places)
    if (::access((place / "postgres").c_str(), X_OK) == 0) {
      host.programs = place;
      break;
    }
  if (!host.programs) return host;
  for (const auto& share : {host.programs->parent_path() / "share/extension", host.programs->parent_path() / "share/postgresql/extension",
                            fs::path(fmt::format("/usr/share/postgresql/{}/extension", major)),
                            // Debian's layout below another root, such as unpacked packages.
                            host.programs->parent_path().parent_path().parent_path().parent_path() / fmt::format("share/postgresql/{}/extension", major)})
    if (::access(share.c_str(), R_OK | X_OK) == 0) {
      host.extensions = share;
      break;
    }
  return host;
}

std::vector<Check> check_host(const repository::ManifestRoot& root, const Host& host, const std::function<bool(const std::string&)>& has_control_file) {
  std::vector<Check> checks;
  checks.push_back(host.programs ? Check{"server programs", CheckState::Ok, fmt::format("PostgreSQL {} in {}", root.pg_major, host.programs->string())}
                                 : Check{"server programs", CheckState::Unknown,
                                         fmt::format("PostgreSQL {} was not found on this host: where the server is to run it must be installed (bin_directory names another place)", root.pg_major)});

  const auto recorded = settings_of(root, postgres::kExtensionSetting);
  if (settings_of(root, postgres::kContentsSetting).empty()) {
    checks.push_back({"extensions", CheckState::Unknown, "the backup does not say which it needs"});
  } else if (!host.extensions) {
    checks.push_back({"extensions", CheckState::Unknown, "where this host has PostgreSQL's extensions is not known"});
  } else {
    std::set<std::string> missing, needed;
    for (const auto& line : recorded) {  // "pgcrypto 1.3 in shop"
      const auto name = line.substr(0, line.find(' '));
      needed.insert(name);
      if (!has_control_file(name)) missing.insert(name);
    }
    const auto contents = postgres::parse_contents_settings(root.settings);
    const bool all_read = contents && std::ranges::all_of(contents->databases, &postgres::DatabaseContents::read);
    const auto names = needed.empty() ? "none" : fmt::format("{}", fmt::join(needed, ", "));
    if (!missing.empty()) {
      checks.push_back({"extensions", CheckState::Warning, fmt::format("not installed in {}: {}", host.extensions->string(), fmt::join(missing, ", "))});
    } else if (!all_read) {
      checks.push_back({"extensions", CheckState::Unknown, fmt::format("not every database could be looked into when the backup was taken; of the others: {}", names)});
    } else {
      checks.push_back({"extensions", CheckState::Ok, names});
    }
  }

  const auto libc = settings_of(root, "libc_version");
  const bool said = std::ranges::any_of(root.settings, [](const auto& setting) { return setting.first == "libc_version"; });
  if (libc.empty() && said && sorts_by_code_points(root)) {
    checks.push_back({"collations", CheckState::Ok, "the origin had none of the C library's but C"});
  } else if (libc.empty() || host.libc_version.empty()) {
    checks.push_back({"collations", CheckState::Unknown, "the backup does not say whose C library sorted its text"});
  } else if (libc.front() == host.libc_version) {
    checks.push_back({"collations", CheckState::Ok, fmt::format("the C library is {}, as the backup's", host.libc_version)});
  } else {
    checks.push_back({"collations", CheckState::Warning,
                      fmt::format("the C library is {} here and was {} in the backup: it may sort text in another order, and indexes on text would be corrupt; where the "
                                  "server runs on this host: REINDEX DATABASE of each, unless it has no collation but C, then ALTER DATABASE ... REFRESH COLLATION VERSION (15 and later)",
                                  host.libc_version, libc.front())});
  }
  if (auto icu = check_icu(root, host)) checks.push_back(std::move(*icu));
  return checks;
}

std::vector<Check> check_this_host(const repository::ManifestRoot& root, const fs::path& bin_directory) {
  auto host = this_host(static_cast<int>(root.pg_major), bin_directory);
  if (host.programs && asks_for_icu(root)) host.icu_version = icu_version_of(*host.programs / "postgres");
  return check_host(root, host, [&](const std::string& extension) { return ::access((*host.extensions / (extension + ".control")).c_str(), R_OK) == 0; });
}

CheckedRestore check(const RestoreRequest& request) {
  CheckedRestore checked;
  auto step = Step::Backup;
  auto prepared = prepare(request, [&](Step now, const std::string&) { step = now; });
  if (!prepared) {
    for (int before = 0; before < static_cast<int>(step); ++before) checked.checks.push_back({std::string(step_text(static_cast<Step>(before))), CheckState::Ok, ""});
    checked.checks.push_back({std::string(step_text(step)), CheckState::Failed, prepared.failure().describe()});
    for (int after = static_cast<int>(step) + 1; after <= static_cast<int>(Step::Place); ++after)
      checked.checks.push_back({std::string(step_text(static_cast<Step>(after))), CheckState::Unknown, "not looked at"});
    checked.refusal = std::move(prepared).failure();
    return checked;
  }
  checked.checks = describe_prepared(*prepared);
  const auto& root = prepared->choice.root;
  if (prepared->target) {
    const auto& target = *prepared->target;
    checked.checks.push_back({"target", CheckState::Ok,
                              fmt::format("{} {}{}", target.to.string(), target.delta ? "holds this cluster, stopped" : target.leftovers ? "holds what an interrupted restore left" : "is free",
                                          target.clone ? "; a clone" : "; the cluster's own data directory")});
    for (const auto& need : target.file_systems)
      checked.checks.push_back({fmt::format("space for {}", need.place.string()), CheckState::Ok,
                                fmt::format("{} of {} free; the files are {} as they are, {} in the repository", human(ByteCount(need.write)), human(ByteCount(need.free)),
                                            human(ByteCount(root.total_bytes)), human(ByteCount(root.stored_bytes)))});
  }
  for (auto& one : check_this_host(root, request.bin_directory)) checked.checks.push_back(std::move(one));
  checked.prepared = std::move(*prepared);
  return checked;
}

}  // namespace pgmint::restore
