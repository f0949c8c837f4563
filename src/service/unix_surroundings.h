// A daemon's surroundings as they are: child processes, signals, the state directory, the service manager.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "service/daemon.h"
#include "service/sd_notify.h"

namespace pgmint::service {

/// A descriptor that the daemon watches beside its own, such as a listening socket; `ready` must not block for long.
struct Watched {
  int fd = -1;
  std::function<void()> ready;
};

struct UnixOptions {
  std::vector<std::string> program;  ///< pgmint and the options that every child gets
  fs::path state_directory;
  std::function<Result<Plan>()> load_plan;
  std::vector<Watched> watched{};
};

/// Takes SIGTERM, SIGINT (the first asks to stop, the second says at once), SIGHUP and SIGCHLD of the process until it is
/// destroyed; call from the main thread before others start. Borrows `clock`.
class UnixSurroundings final : public Surroundings {
 public:
  /// @errors Busy (a daemon of this state directory runs), Configuration (NOTIFY_SOCKET), Key, Io
  static Result<std::unique_ptr<UnixSurroundings>> open(Clock& clock, UnixOptions options);
  ~UnixSurroundings() override;

  TimePoint now() const override { return clock_.now(); }
  Result<ChildId> start(const std::vector<std::string>& arguments, const std::string& cluster) override;
  void end(ChildId child, bool at_once) override;
  DaemonEvent wait(TimePoint until) override;
  Result<Plan> load_plan() override { return options_.load_plan(); }
  Status save(const RunMemory& memory) override { return save_memory(files_.memory(), memory); }
  void tell(std::string_view message) override { manager_.tell(message); }

  /// What the last daemon remembered. Damaged: empty, and said.
  RunMemory recalled() const;

 private:
  UnixSurroundings(Clock& clock, UnixOptions options) : clock_(clock), options_(std::move(options)), files_(options_.state_directory) {}
  void read_signals();
  void reap();

  Clock& clock_;
  UnixOptions options_;
  ServiceFiles files_;
  ServiceManager manager_;
  Fd lock_, signals_;
  std::map<int, ChildId> children_;  ///< by process id
  ChildId last_child_ = 0;
  bool was_told_to_stop_ = false;
  std::deque<DaemonEvent> events_;
};

/// The process id of the daemon of this state directory; nullopt: none runs. @errors Key, Io
Result<std::optional<int>> running_daemon(const fs::path& state_directory);

}  // namespace pgmint::service
