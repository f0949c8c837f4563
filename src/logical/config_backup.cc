#include "logical/config_backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/child_process.h"
#include "base/log.h"
#include "logical/client_programs.h"
#include "logical/dump.h"
#include "logical/stream_backup.h"
#include "postgres/server_facts.h"

namespace pgmint::logical {
namespace {

using repository::FileArea;
using repository::FileEntry;
using repository::FileKind;
using Json = nlohmann::ordered_json;

/// Files of a data directory that say how the server is configured.
constexpr std::string_view kDataDirectoryFiles[] = {"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"};

std::string owner_name(uid_t id) {
  const auto* user = ::getpwuid(id);
  return user != nullptr ? user->pw_name : std::to_string(id);
}
std::string group_name(gid_t id) {
  const auto* group = ::getgrgid(id);
  return group != nullptr ? group->gr_name : std::to_string(id);
}

FileEntry entry_of(const fs::path& path, const struct stat& status) {
  FileEntry entry;
  entry.area = FileArea::Configuration;
  entry.path = path.string();
  entry.mode = status.st_mode & 07777;
  entry.uid = status.st_uid;
  entry.gid = status.st_gid;
  entry.owner = owner_name(status.st_uid);
  entry.group = group_name(status.st_gid);
  entry.mtime_us = status.st_mtim.tv_sec * 1'000'000 + status.st_mtim.tv_nsec / 1000;
  return entry;
}

class Run {
 public:
  explicit Run(const ConfigRequest& request) : request_(request) {}

  Status begin() {
    backup_ = TRY(StreamBackup::begin({request_.cluster, repository::BackupType::Config, {}, request_.codec, 1, request_.cancel}));
    return ok();
  }
  void give_up() { backup_->give_up(); }

  Status take() {
    ask_server();
    for (const auto& pattern : request_.paths) find(pattern);
    for (const auto& path : wanted_) TRY(take_named(path));
    for (const auto name : kDataDirectoryFiles) {
      if (request_.data_directory.empty()) break;
      const auto path = (request_.data_directory / name).lexically_normal();
      if (const auto there = stat_if_exists(path); !there || *there) TRY(take_named(path));
    }
    for (const auto& [name, text] : made_) TRY(backup_->store(name, text));
    TRY(take_globals());
    StreamBackupFacts facts;
    facts.pg_major = static_cast<std::uint32_t>(major_);
    facts.note = request_.note;
    facts.settings = std::move(settings_);
    return backup_->commit(std::move(facts), backup_->begun());
  }

  ConfigReport report() const {
    return {backup_->name(), backup_->parent(), backup_->id(), backup_->begun(), backup_->finished(), files_, backup_->total_bytes(), backup_->stored_bytes(),
            backup_->warnings(), server_answered_, has_all_files_};
  }

 private:
  void ask_server() {
    auto asked = [&]() -> Status {
      auto connection = TRY(postgres::Connection::open(request_.connect, request_.cancel));
      major_ = connection.version().major;
      const auto facts = TRY(postgres::server_facts(connection, request_.is_remote ? postgres::Asked::FromAfar : postgres::Asked::OnItsHost));
      // Of a remote server: what has such a name on this machine is another server's.
      if (request_.is_remote) lacks_file("the server is on another machine: its configuration files are not in this backup; take it there, or see settings");
      for (const auto& path : {facts.config_file, facts.hba_file, facts.ident_file})
        if (path.starts_with('/') && !request_.is_remote) wanted_.insert(fs::path(path).lexically_normal());
      for (const auto& path : facts.included_files)
        if (path.starts_with('/') && !request_.is_remote) wanted_.insert(fs::path(path).lexically_normal());
      settings_ = {{"server_version", facts.version_text}, {"server_version_num", std::to_string(facts.version_num)},
                   {std::string(repository::kSystemIdentifierSetting), std::to_string(facts.system_identifier.value())}};
      made_.emplace(kSettingsFile, TRY(table(connection, "SELECT name, setting, unit, source, boot_val, sourcefile, pending_restart FROM pg_catalog.pg_settings ORDER BY name")));
      std::string extensions = "{";
      for (const auto& database : facts.databases) {
        if (!database.allows_connections) continue;
        auto connect = request_.connect;
        connect.database = database.name;
        auto there = TRY(postgres::Connection::open(connect, request_.cancel));
        extensions += fmt::format("{}\n{}: {}", extensions.size() > 1 ? "," : "", Json(database.name).dump(-1, ' ', false, Json::error_handler_t::replace),
                                  TRY(table(there, "SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema FROM pg_catalog.pg_extension e "
                                                   "JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1")));
      }
      made_.emplace(kExtensionsFile, extensions + "}\n");
      return ok();
    }();
    if (!asked) lacks_of_server(fmt::format("the server could not be asked for its settings: {}", asked.failure().describe()));
  }

  void lacks_of_server(std::string what) {
    server_answered_ = false;
    backup_->warn(std::move(what));
  }
  void lacks_file(std::string what) {
    has_all_files_ = false;
    backup_->warn(std::move(what));
  }

  /// Rows as a list of objects, one a line, so that a difference is a line.
  static Result<std::string> table(postgres::Connection& connection, const std::string& sql) {
    const auto rows = TRY(connection.query(sql));
    std::string text = "[";
    for (const auto& row : rows.rows) {
      Json one;
      for (std::size_t i = 0; i < row.size(); ++i) one[rows.columns[i]] = row[i] ? Json(redact(*row[i])) : Json(nullptr);
      text += fmt::format("{}\n{}", text.size() > 1 ? "," : "", one.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    return text + "\n]\n";
  }

  void find(const std::string& pattern) {
    glob_t found{};
    const int status = ::glob(pattern.c_str(), 0, nullptr, &found);
    if (status != 0) lacks_file(fmt::format("{} names nothing that is there", pattern));
    for (std::size_t i = 0; status == 0 && i < found.gl_pathc; ++i) wanted_.insert(fs::absolute(found.gl_pathv[i]).lexically_normal());
    ::globfree(&found);
  }

  /// What is named must be there; a link comes with the file that it leads to.
  Status take_named(const fs::path& path) {
    std::error_code error, ignored;
    const auto meant = fs::canonical(path, error);
    const bool is_link = fs::is_symlink(path, ignored);
    if (error) TRY(unreadable(path, errno_error(error.value(), path.string())));
    else if (is_link && fs::is_regular_file(meant, ignored)) TRY(take_path(meant));
    return error && !is_link ? ok() : take_path(path);
  }

  /// What is gone meanwhile is no loss.
  Status take_path(const fs::path& path) {
    if (request_.cancel != nullptr) TRY(request_.cancel->check());
    if (!taken_.insert(path).second) return ok();
    const auto status = stat_if_exists(path);
    if (!status) return unreadable(path, status.failure());
    if (!*status) return ok();
    auto entry = entry_of(path, **status);
    if (S_ISLNK((*status)->st_mode)) {
      std::error_code error;
      entry.kind = FileKind::Symlink;
      entry.content = fs::read_symlink(path, error).string();
      if (error) return unreadable(path, errno_error(error.value(), path.string()));
      backup_->add(std::move(entry));
      ++files_;
      return ok();
    }
    if (S_ISDIR((*status)->st_mode)) return take_directory(path, std::move(entry));
    if (!S_ISREG((*status)->st_mode)) {
      backup_->warn(fmt::format("{} is no ordinary file, and not in this backup", path.string()));
      return ok();
    }
    const auto fd = open_file(path, O_RDONLY);
    if (!fd) return unreadable(path, fd.failure());
    std::uint64_t at = 0;
    TRY(backup_->store(std::move(entry), [&](MutableByteView out) -> Result<std::size_t> {
      const auto got = TRY(read_at(*fd, out, at, path.string()));
      at += got;
      return got;
    }));
    ++files_;
    return ok();
  }

  Status take_directory(const fs::path& path, FileEntry entry) {
    entry.kind = FileKind::Directory;
    backup_->add(std::move(entry));
    std::set<fs::path> inside;
    const auto listed = list_directory(path, [&](const std::string& name, unsigned char) -> Status {
      inside.insert(path / name);
      return ok();
    });
    if (!listed) return unreadable(path, listed.failure());
    for (const auto& one : inside) TRY(take_path(one));
    return ok();
  }

  Status unreadable(const fs::path& path, const Error& error) {
    if (error.code() == Errc::Cancelled) return error;
    lacks_file(fmt::format("{} is not in this backup: {}", path.string(), error.describe()));
    return ok();
  }

  /// Without it the backup is still worth having.
  Status take_globals() {
    if (major_ == 0) return ok();
    auto taken = [&]() -> Result<StreamCounts> {
      const auto programs = TRY(find_client_programs(request_.bin_directory, major_, request_.cancel));
      auto client = TRY(postgres::client_connection(request_.connect));
      auto child = TRY(ChildProcess::start({.arguments = {programs.program("pg_dumpall"), "--globals-only", "--no-password", "--no-role-passwords", "--dbname=" + client.conninfo},
                                            .environment = std::move(client.environment), .pipe_output = true, .passed = std::move(client.passed), .cancel = request_.cancel}));
      return backup_->store(std::string(kGlobalsFile), [&](MutableByteView out) -> Result<std::size_t> {
        const auto got = TRY(child->read(out));
        if (got == 0 && TRY(child->wait()) != 0) return Error(Errc::Postgres, one_line(child->errors()));
        return got;
      });
    }();
    if (taken) return ok();
    if (taken.failure().code() != Errc::Postgres && taken.failure().code() != Errc::Precondition) return std::move(taken).failure();
    lacks_of_server(fmt::format("roles and tablespaces are not in this backup: {}", taken.failure().describe()));
    return ok();
  }

  const ConfigRequest& request_;
  std::unique_ptr<StreamBackup> backup_;
  std::set<fs::path> wanted_, taken_;
  std::map<std::string, std::string, std::less<>> made_;
  std::vector<std::pair<std::string, std::string>> settings_;
  int major_ = 0;
  std::size_t files_ = 0;
  bool server_answered_ = true, has_all_files_ = true;
};

}  // namespace

Result<ConfigReport> back_up_config(const ConfigRequest& request) {
  Run run(request);
  TRY(run.begin());
  if (auto taken = run.take(); !taken) {
    run.give_up();
    return std::move(taken).failure();
  }
  return run.report();
}

}  // namespace pgmint::logical
