#include "logical/restorer.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/child_process.h"
#include "base/task_group.h"

namespace pgmint::logical {
namespace {

constexpr unsigned kReaders = 1;  ///< per task: what it feeds is slower
constexpr auto kTick = std::chrono::milliseconds(20);

/// A list for pg_restore -L, in memory; the program opens it by its place below /proc.
Result<Fd> list_of(const LoadTask& task) {
  Fd fd(::memfd_create("pgmint-list", MFD_CLOEXEC));
  if (!fd.valid()) return errno_error(errno, "memory for a list");
  std::string text;
  for (const auto* entry : task.entries) text += fmt::format("{};\n", entry->id);
  TRY(write_all(fd, as_bytes(text), "list of entries"));
  return fd;
}

}  // namespace

Status Restorer::run(const LoadTask& task) {
  if (task.entries.empty()) return ok();
  const auto list = TRY(list_of(task));
  auto client = TRY(postgres::client_connection(settings_.connect, TRY(begins_read_only())));
  auto arguments = settings_.programs.streaming("pg_restore");
  arguments.insert(arguments.end(), {"--exit-on-error", "--no-password", "--dbname=" + client.conninfo, fmt::format("--use-list=/proc/{}/fd/{}", ::getpid(), list.get())});
  if (settings_.no_owner) arguments.insert(arguments.end(), {"--no-owner", "--no-privileges"});
  auto child = TRY(ChildProcess::start(
      {.arguments = std::move(arguments), .environment = std::move(client.environment), .pipe_input = true, .passed = std::move(client.passed), .cancel = settings_.cancel}));

  std::vector<StreamRange> ranges{{0, settings_.contents.data_start}};
  for (const auto* entry : task.entries)
    if (entry->length != 0) ranges.push_back({entry->offset, entry->length});
  auto reader = TRY(StreamReader::open(settings_.cluster, settings_.archive, kReaders, settings_.cancel));
  std::uint64_t passed = 0;
  auto fed = reader.read(ranges, [&](ByteView bytes) -> Result<bool> {
    const auto more = TRY(child->write(bytes));
    const auto of_contents = std::min<std::uint64_t>(bytes.size(), settings_.contents.data_start - std::min(passed, settings_.contents.data_start));
    passed += bytes.size();
    bytes_done_ += bytes.size() - of_contents;
    return more;
  });
  child->close_input();
  if (!fed && fed.failure().code() != Errc::Cancelled) return fed;
  const auto status = TRY(child->wait());
  if (status != 0)
    return Error(Errc::Postgres, fmt::format("pg_restore failed with status {}: {}", status, one_line(child->errors())),
                 Hint{"see also the server's log; --no-owner restores without roles and grants"});
  if (auto said = one_line(child->errors()); !said.empty()) keep_warning(std::move(said));
  return fed;
}

/// The settings of a database come back with it, before its last rows do; a role may have them as well.
Result<bool> Restorer::begins_read_only() const {
  auto connection = TRY(postgres::Connection::open(settings_.connect, settings_.cancel));
  return TRY(connection.value("SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'")) == "on";
}

void Restorer::keep_warning(std::string text) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(warnings_, text) == warnings_.end()) warnings_.push_back(std::move(text));
}

Status Restorer::run(const std::vector<LoadTask>& tasks, const std::function<void()>& tick) {
  std::atomic<std::size_t> running{tasks.size()};
  TaskGroup group(settings_.cancel);
  for (const auto& task : tasks)
    group.spawn([this, &running, task = &task]() -> Status {
      auto done = run(*task);
      --running;
      return done;
    });
  while (running.load() > 0) {
    tick();
    settings_.cluster.repository().environment().clock.sleep(kTick);
  }
  return group.join();
}

}  // namespace pgmint::logical
