#include "postgres/test_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <map>

namespace pgmint::postgres::testing {
namespace {

const struct passwd* server_user() {
  static const struct passwd* user = ::geteuid() == 0 ? ::getpwnam("postgres") : nullptr;
  return user;
}

/// Forks, becomes the server's user when we are root, runs, and returns output and exit code.
std::pair<std::string, int> run_program(const fs::path& program, std::vector<std::string> arguments) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {"", -1};
  arguments.insert(arguments.begin(), program.string());
  std::vector<char*> argv;
  for (auto& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    ::setenv("LC_ALL", "C", 1);
    ::setenv("TZ", "UTC", 1);
    if (::chdir("/") != 0) ::_exit(126);
    if (const auto* user = server_user()) {
      if (::initgroups(user->pw_name, user->pw_gid) != 0 || ::setgid(user->pw_gid) != 0 || ::setuid(user->pw_uid) != 0)
        ::_exit(126);
    }
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  std::string output;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) output.append(buffer, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return {output, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}

int next_port() {
  static std::atomic<int> next{1};
  return 20000 + static_cast<int>(::getpid()) % 20000 + next++;  // names sockets only
}

fs::path make_base() {
  std::string name = "/tmp/pgmint-pg-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp failed";
  if (const auto* user = server_user(); user != nullptr && ::chown(name.c_str(), user->pw_uid, user->pw_gid) != 0)
    ADD_FAILURE() << "chown failed";
  return name;
}

/// What initdb makes, once per program and arguments: copies are ten times as fast. They share a system identifier.
fs::path template_directory(const fs::path& programs, const std::vector<std::string>& more) {
  struct Templates {
    std::map<std::string, fs::path> made;
    ~Templates() {
      std::error_code ignored;
      for (const auto& [key, path] : made) fs::remove_all(path, ignored);
    }
  };
  static Templates templates;
  std::string key = programs.string();
  for (const auto& argument : more) key += " " + argument;
  auto [at, is_new] = templates.made.try_emplace(key);
  if (is_new) {
    at->second = make_base();
    std::vector<std::string> arguments{
        "-D", (at->second / "data").string(), "-U", "postgres", "-A", "trust", "-N", "--locale=C.UTF-8"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto [output, code] = run_program(programs / "initdb", arguments);
    EXPECT_EQ(code, 0) << output;
  }
  return at->second / "data";
}

}  // namespace

std::optional<fs::path> server_programs(int major) {
  std::vector<fs::path> places;
  if (const char* set = std::getenv(fmt::format("PGMINT_PG{}_BIN", major).c_str())) places.emplace_back(set);
  places.emplace_back(fmt::format("/usr/lib/postgresql/{}/bin", major));
  for (const fs::path& root : {fs::current_path() / "build/postgres", fs::path("/var/tmp/pgmint-postgres")})
    places.push_back(root / std::to_string(major) / fmt::format("usr/lib/postgresql/{}/bin", major));
  for (const auto& place : places)
    if (fs::exists(place / "postgres")) return place;
  return std::nullopt;
}

std::vector<int> installed_majors() {
  std::vector<int> found;
  for (int major = 13; major <= 18; ++major)
    if (major == 15 || server_programs(major)) found.push_back(major);
  return found;
}

TestServer::TestServer(Options options) : options_(std::move(options)), base_(make_base()), port_(next_port()) {
  auto programs = server_programs(options_.major);
  if (!programs) {
    ADD_FAILURE() << "PostgreSQL " << options_.major << " is not installed (scripts/setup.sh)";
    return;
  }
  programs_ = *programs;
  auto copied = run_program("/bin/cp",
                            {"-a", template_directory(programs_, options_.initdb).string(), data_directory().string()});
  EXPECT_EQ(copied.second, 0) << copied.first;
  auto append = [&](const char* file, const std::string& text, bool in_front) {
    auto path = data_directory() / file;
    auto old = read_text_file(path, 1 << 20).value_or("");
    ASSERT_TRUE(write_file_durably(path, as_bytes(in_front ? text + old : old + text), 0600));
    give_to_server(path);
  };
  append("postgresql.conf",
         fmt::format(
             "listen_addresses = ''\nunix_socket_directories = '{}'\nport = {}\nfsync = off\nautovacuum = off\nlog_timezone = 'UTC'\n"
             "max_wal_senders = 4\nwal_keep_size = 1GB\n{}\n",
             base_.string(), port_, options_.configuration),
         false);
  append("pg_hba.conf", options_.hba + "\nlocal all all trust\nlocal replication all trust\n", true);
}

TestServer::TestServer(const TestServer& primary, CopyTag)
    : options_(primary.options_), programs_(primary.programs_), base_(make_base()), port_(next_port()) {
  run("pg_basebackup", {"-D", data_directory().string(), "-R", "-X", "stream", "-c", "fast", "-d", primary.conninfo()});
  auto path = data_directory() / "postgresql.conf";
  auto text = read_text_file(path, 1 << 20).value_or("") +
              fmt::format("\nunix_socket_directories = '{}'\nport = {}\n", base_.string(), port_);
  EXPECT_TRUE(write_file_durably(path, as_bytes(text), 0600));
  give_to_server(path);
}

std::unique_ptr<TestServer> TestServer::make_standby() const {
  return std::unique_ptr<TestServer>(new TestServer(*this, CopyTag{}));
}

TestServer::~TestServer() {
  if (running_) stop("immediate");
  std::error_code ignored;
  fs::remove_all(base_, ignored);
}

void TestServer::give_to_server(const fs::path& path) const {
  if (const auto* user = server_user(); user != nullptr) {
    EXPECT_EQ(::chown(path.c_str(), user->pw_uid, user->pw_gid), 0) << path;
  }
}

std::string TestServer::run(const std::string& program, const std::vector<std::string>& arguments,
                            int expected_exit) const {
  auto [output, code] = run_program(programs_ / program, arguments);
  EXPECT_EQ(code, expected_exit) << program << ": " << output;
  return output;
}

void TestServer::start() {
  run("pg_ctl", {"-D", data_directory().string(), "-l", (base_ / "log").string(), "-w", "-t", "60", "start"});
  running_ = true;
  if (::testing::Test::HasFailure()) {
    auto log = read_text_file(base_ / "log", 1 << 20).value_or("");
    if (log.find("ready to accept") == std::string::npos) ADD_FAILURE() << log;
  }
}

void TestServer::stop(const char* mode) {
  run("pg_ctl", {"-D", data_directory().string(), "-m", mode, "-w", "-t", "60", "stop"});
  running_ = false;
}

std::string TestServer::conninfo(const std::string& more) const {
  return fmt::format("host={} port={} user=postgres dbname=postgres {}", base_.string(), port_, more);
}

Connection TestServer::connect() const {
  auto connection = Connection::open(connect_options());
  if (!connection) throw std::runtime_error(connection.failure().describe());
  return std::move(*connection);
}

void TestServer::sql(const std::vector<std::string>& statements) const {
  Connection connection = connect();
  EXPECT_TRUE(connection.execute("SET search_path = public"));
  for (const auto& statement : statements) {
    auto done = connection.execute(statement);
    EXPECT_TRUE(done) << statement << ": " << done.failure().describe();
  }
}

std::string TestServer::value(const std::string& sql) const {
  Connection connection = connect();
  auto value = connection.value(sql);
  EXPECT_TRUE(value) << sql << ": " << value.failure().describe();
  return value.value_or("");
}

}  // namespace pgmint::postgres::testing
