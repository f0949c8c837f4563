#include "restore/target_directory.h"

#include <fmt/format.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/units.h"
#include "postgres/control_file.h"
#include "postgres/data_directory.h"

namespace pgmint::restore {
namespace {

Result<bool> is_empty_directory(const fs::path& path) {
  bool empty = true;
  TRY(list_directory(path, [&](const std::string& name, unsigned char) -> Status {
    // What mkfs leaves at the root of a file system is not data.
    if (name != "lost+found") empty = false;
    return ok();
  }));
  return empty;
}

/// The process of a server that runs on `directory`, if any.
std::optional<pid_t> running_server(const fs::path& directory) {
  auto text = read_text_file(directory / "postmaster.pid", 4096);
  if (!text) return std::nullopt;
  pid_t pid = 0;
  auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), pid);
  if (ec != std::errc{} || pid <= 0) return std::nullopt;
  if (::kill(pid, 0) == 0 || errno == EPERM) return pid;
  return std::nullopt;
}

/// True when an interrupted restore left it: our marker, and no pg_control (which a restore writes last).
bool is_leftover(const fs::path& path) {
  return ::access((path / kRestoringMarker).c_str(), F_OK) == 0 && ::access((path / "global/pg_control").c_str(), F_OK) != 0;
}

bool has_marker(const fs::path& path, const char* marker) { return ::access((path / marker).c_str(), F_OK) == 0; }

/// Absent, an empty directory, or (told by `leftover`) what an interrupted restore left. `what` for messages.
Status expect_free(const fs::path& path, std::string_view what, std::string_view hint, bool* leftover) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return ok();
    return errno_error(errno, fmt::format("look at {}", path.string()));
  }
  if (!S_ISDIR(st.st_mode)) return Error(Errc::Precondition, fmt::format("{} {} is not a directory", what, path.string()));
  TRY(expect_no_server(path));
  if (leftover != nullptr && is_leftover(path)) {
    *leftover = true;
    return ok();
  }
  if (has_marker(path, kDeltaMarker))
    return Error(Errc::Precondition, fmt::format("{} {} is not empty: it holds what an interrupted restore --delta left", what, path.string()),
                 Hint{"--delta goes on with it"});
  if (!TRY(is_empty_directory(path)))
    return Error(Errc::Precondition, fmt::format("{} {} is not empty", what, path.string()), Hint{std::string(hint)});
  return ok();
}

Status expect_writable_parent(const fs::path& path) {
  fs::path probe = path;
  while (!probe.empty() && ::access(probe.c_str(), F_OK) != 0 && probe.has_parent_path() && probe.parent_path() != probe) probe = probe.parent_path();
  if (::access(probe.c_str(), W_OK | X_OK) != 0) return errno_error(errno, fmt::format("{} cannot be written to", probe.string()));
  return ok();
}

/// Whether a delta restore has an existing data directory to work on: one of the backup's own cluster, stopped, or what an interrupted
/// restore left. False: absent or empty, for a plain restore.
Result<bool> is_delta_target(const fs::path& path, const repository::ManifestRoot& root) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return false;
    return errno_error(errno, fmt::format("look at {}", path.string()));
  }
  if (!S_ISDIR(st.st_mode)) return Error(Errc::Precondition, fmt::format("the target {} is not a directory", path.string()));
  if (TRY(is_empty_directory(path))) return false;
  TRY(expect_no_server(path));
  const Hint elsewhere{"name a new or empty directory with --to, without --delta"};
  if (::access((path / "global/pg_control").c_str(), F_OK) != 0) {
    if (!has_marker(path, kDeltaMarker)) {
      if (is_leftover(path)) return true;
      return Error(Errc::Precondition, fmt::format("the target {} is not empty, and no data directory: it has no global/pg_control", path.string()), elsewhere);
    }
    const auto identity = TRY(read_text_file(path / kDeltaMarker, 64));
    if (!identity.empty() && identity != std::to_string(root.system_id))
      return Error(Errc::Precondition, fmt::format("the target {} is what an interrupted restore of another cluster left (system identifier {})", path.string(), identity), elsewhere);
    return true;
  }
  const auto control = postgres::read_control_file(path);
  if (!control)
    return Error(Errc::Precondition, fmt::format("whose data directory {} is cannot be told: {}", path.string(), control.failure().describe()), elsewhere);
  if (control->control.system_identifier.value() != root.system_id)
    return Error(Errc::Precondition, fmt::format("{} is the data directory of another cluster: system identifier {}, and that of {} is {}", path.string(),
                                                 control->control.system_identifier.value(), root.name, root.system_id), elsewhere);
  return true;
}

/// Whether `place` has the mark of the interrupted restore that the target has, or (by_link) is where the target's pg_tblspc/<oid> leads.
bool is_targets_own(const TargetPlan& plan, std::uint32_t oid, const fs::path& place, bool by_link) {
  if (has_marker(place, kDeltaMarker) && has_marker(plan.to, kDeltaMarker)) return true;
  if (has_marker(place, kRestoringMarker) && is_leftover(plan.to)) return true;
  std::error_code ec;
  return by_link && fs::is_symlink(fs::symlink_status(plan.to / "pg_tblspc" / std::to_string(oid), ec)) &&
         fs::equivalent(plan.to / "pg_tblspc" / std::to_string(oid), place, ec) && !ec;
}

/// Tablespaces of the target that the backup does not have. WAL that makes them anew would find what their files hold now.
Status plan_forgotten_tablespaces(TargetPlan& plan, const repository::ManifestRoot& root) {
  const auto links = plan.to / "pg_tblspc";
  std::error_code ec;
  if (!fs::is_directory(links, ec)) return ok();
  return list_directory(links, [&](const std::string& name, unsigned char) -> Status {
    const bool known = std::any_of(root.tablespaces.begin(), root.tablespaces.end(), [&](const auto& t) { return std::to_string(t.oid) == name; });
    std::error_code failed;
    if (known || !fs::is_symlink(fs::symlink_status(links / name, failed))) return ok();
    const auto location = fs::canonical(links / name, failed);
    if (failed) return ok();  // leads nowhere
    if (!plan.clone) {
      plan.forgotten_tablespaces.push_back(location / plan.version_directory);
      return ok();
    }
    // Recovery makes a tablespace where the origin has it: what a clone's link leads to may be the origin's own.
    return Error(Errc::Precondition, fmt::format("{} leads to a tablespace that {} does not have, and that may be the origin's", (links / name).string(), root.name),
                 Hint{"remove the link, and empty the directory if it is this clone's; then try again"});
  });
}

Result<std::map<std::uint32_t, std::string>> plan_tablespaces(const RestoreRequest& request, const repository::ManifestRoot& root, const TargetPlan& target) {
  const bool clone = target.clone, leftover_target = target.leftovers;
  std::map<std::string, std::string> mapping;
  for (const auto& [from, to] : request.tablespaces) {
    if (to.empty() || to.front() != '/')
      return Error(Errc::Usage, fmt::format("--tablespace {}={}: the new location must be an absolute path", from, to));
    mapping[from] = to;
  }
  for (const auto& [from, to] : mapping) {
    const bool known = std::any_of(root.tablespaces.begin(), root.tablespaces.end(), [&place = from](const auto& t) { return t.location == place; });
    if (known) continue;
    std::string locations;
    for (const auto& t : root.tablespaces) locations += (locations.empty() ? "" : ", ") + t.location;
    return Error(Errc::Precondition, fmt::format("--tablespace {}=...: backup {} has no tablespace there", from, root.name),
                 Hint{locations.empty() ? "it has no tablespaces" : "its tablespaces: " + locations});
  }
  std::map<std::uint32_t, std::string> plan;
  std::set<std::string> used;
  bool ignored = false;
  for (const auto& t : root.tablespaces) {
    if (t.location.empty()) continue;  // in place: a directory inside pg_tblspc
    auto it = mapping.find(t.location);
    const std::string to = it == mapping.end() ? t.location : it->second;
    if (!used.insert(to).second) return Error(Errc::Usage, fmt::format("two tablespaces would go to {}", to));
    // The link of a clone may lead to the origin's own: a copied data directory's does.
    if (target.delta && is_targets_own(target, t.oid, to, !(clone && to == t.location))) {
      TRY(expect_writable_parent(to));
      plan[t.oid] = to;
      continue;
    }
    TRY(expect_free(to, fmt::format("the place of tablespace {} (OID {}),", t.location, t.oid),
                    fmt::format("give it another place: --tablespace {}=/new/place{}", t.location,
                                clone ? "" : "; or empty the directory if it is what is left of the lost cluster"),
                    // Only together with its data directory: alone it may belong to a server that runs elsewhere.
                    leftover_target ? &ignored : nullptr));
    TRY(expect_writable_parent(to));
    plan[t.oid] = to;
  }
  return plan;
}

/// Bytes that files below `directory` take, on its own file system, and that a restore has for others: what is deleted gives its blocks, what is
/// written over its length (on a file system that compresses it has fewer blocks than that, and needs no more). WAL that a delta restore keeps gives none.
std::uint64_t used_below(const fs::path& directory, dev_t device, bool written_over) {
  std::uint64_t used = 0;
  std::error_code ec;
  fs::recursive_directory_iterator at(directory, fs::directory_options::skip_permission_denied, ec), end;
  for (; !ec && at != end; at.increment(ec)) {
    const auto name = at->path().filename().native();
    if (written_over && at.depth() == 0 && (name == "pg_wal" || name.starts_with(kWalAside))) {
      at.disable_recursion_pending();
      continue;
    }
    struct stat st {};
    if (::lstat(at->path().c_str(), &st) != 0 || st.st_dev != device) continue;
    const auto blocks = static_cast<std::uint64_t>(st.st_blocks) * 512;
    used += written_over && S_ISREG(st.st_mode) ? std::max(blocks, static_cast<std::uint64_t>(st.st_size)) : blocks;
  }
  return used;
}

/// Recovery fetches the segment that it begins with, and begins a new one at its end.
constexpr std::uint64_t kWalSegmentsMin = 2;

/// Each place with the file system that it is on, or will be on.
Result<std::vector<FileSystemNeed>> measure_space(const TargetPlan& plan, const WrittenBytes& bytes, std::uint64_t wal_segment_size) {
  std::vector<FileSystemNeed> needs;
  std::map<dev_t, std::size_t> known;
  // `freed`: what is in it goes, or is written over.
  const auto add = [&](const fs::path& directory, std::uint64_t write, const fs::path& freed) -> Status {
    fs::path probe = directory;
    struct stat st {};
    while (::stat(probe.c_str(), &st) != 0 && probe.has_parent_path() && probe.parent_path() != probe) probe = probe.parent_path();
    const auto [at, is_new] = known.try_emplace(st.st_dev, needs.size());
    if (is_new) needs.push_back({directory, 0, TRY(free_space(probe))});
    needs[at->second].write += write;
    if (plan.leftovers || plan.delta) needs[at->second].free += used_below(freed, st.st_dev, plan.delta);
    return ok();
  };
  std::uint64_t elsewhere = 0;
  for (const auto& [oid, location] : plan.tablespaces)
    if (const auto found = bytes.in_tablespace.find(oid); found != bytes.in_tablespace.end()) elsewhere += found->second;
  TRY(add(plan.to, bytes.total - elsewhere + kWalSegmentsMin * wal_segment_size, plan.to));
  for (const auto& [oid, location] : plan.tablespaces) {
    const auto found = bytes.in_tablespace.find(oid);
    // Another major's directory in it is another cluster's.
    TRY(add(location, found == bytes.in_tablespace.end() ? 0 : found->second, plan.delta ? fs::path(location) / plan.version_directory : fs::path(location)));
  }
  return needs;
}

Status expect_space(const TargetPlan& plan, const std::string& backup) {
  for (const auto& need : plan.file_systems)
    if (need.write > need.free)
      return Error(Errc::Precondition, fmt::format("{} needs {} on the file system of {}, which has {} free", backup, human(ByteCount(need.write)), need.place.string(),
                                                   human(ByteCount(need.free))),
                   Hint{need.place == plan.to ? "free space, or name a directory on another file system with --to" : "free space, or give the tablespace another place with --tablespace"});
  return ok();
}

}  // namespace

const char* TargetPlan::marker() const { return delta ? kDeltaMarker : kRestoringMarker; }

Status expect_no_server(const fs::path& path) {
  if (auto pid = running_server(path))
    return Error(Errc::Precondition, fmt::format("a PostgreSQL server (process {}) is running on {}", *pid, path.string()),
                 Hint{"stop it and move its data directory away, or name another directory with --to; with --delta stopping it is enough"});
  return ok();
}

Result<TargetPlan> plan_target(const RestoreRequest& request, const repository::ManifestRoot& root, const WrittenBytes& bytes,
                               const std::string& owner_name) {
  TargetPlan plan;
  std::error_code ec;
  plan.to = fs::absolute(request.to, ec).lexically_normal();
  if (ec) return Error(Errc::Usage, fmt::format("'{}' is not a path", request.to.string()));
  if (!plan.to.has_filename()) plan.to = plan.to.parent_path();  // a trailing slash
  if (request.own_data_directory) {
    plan.clone = fs::weakly_canonical(plan.to, ec) != fs::weakly_canonical(*request.own_data_directory, ec);
  }
  plan.delta = request.delta && TRY(is_delta_target(plan.to, root));
  plan.delta_identity = std::to_string(root.system_id);
  const auto* version = postgres::find_version(static_cast<int>(root.pg_major));
  PGMINT_ASSERT(version != nullptr);  // survey_manifest has looked
  plan.version_directory = postgres::tablespace_version_directory(*version);
  if (!plan.delta) TRY(expect_free(plan.to, "the target", "name a new or empty directory with --to", &plan.leftovers));
  TRY(expect_writable_parent(plan.to));
  plan.tablespaces = TRY(plan_tablespaces(request, root, plan));
  if (plan.delta) TRY(plan_forgotten_tablespaces(plan, root));
  plan.new_roots.push_back(plan.to);
  for (const auto& [oid, location] : plan.tablespaces) {
    const auto inside = fs::path(location).lexically_relative(plan.to);
    if (!inside.empty() && inside.native().substr(0, 2) != "..")
      return Error(Errc::Usage, fmt::format("tablespace location {} lies inside the target directory", location));
    plan.new_roots.emplace_back(location);
  }
  if (::geteuid() == 0) {
    const passwd* user = ::getpwnam(owner_name.c_str());
    if (user == nullptr || user->pw_uid == 0)
      return Error(Errc::Precondition, fmt::format("pgmint runs as root, and there is no user '{}', the owner of the backed-up cluster, to give the files to", owner_name),
                   Hint{"run pgmint as the user that shall run PostgreSQL, or create that user"});
    plan.owner = Owner{user->pw_uid, user->pw_gid};
  }
  plan.file_systems = TRY(measure_space(plan, bytes, root.wal_segment_size));
  TRY(expect_space(plan, root.name));
  return plan;
}

}  // namespace pgmint::restore
