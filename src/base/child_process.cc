#include "base/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>

#include "base/spawn.h"

namespace pgmint {
namespace {

constexpr std::size_t kErrorsKept = 64 << 10;
constexpr int kPollMs = 200;           ///< how long a cancellation may go unnoticed
constexpr int kPipeSize = 1 << 20;     ///< fewer turns than with the usual 64 KiB
/// With less to read than this the reader waits a moment, once: pg_dump writes 4 KiB at a time, and to be woken for each costs both sides more than to read them.
constexpr int kWorthReading = 128 << 10;
constexpr auto kMoment = std::chrono::milliseconds(1);
constexpr auto kPatience = std::chrono::seconds(5);
constexpr auto kStep = std::chrono::milliseconds(5);

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  ::fcntl(ends[0], F_SETPIPE_SZ, kPipeSize);  // a wish
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(Options options) {
  PGMINT_ASSERT(!options.arguments.empty());
  std::unique_ptr<ChildProcess> child(new ChildProcess(options.cancel));
  auto errors = TRY(make_pipe());
  std::optional<Pipe> input, output;
  if (options.pipe_input) input = TRY(make_pipe());
  if (options.pipe_output) output = TRY(make_pipe());

  SpawnActions actions;
  if (input) actions.connect(input->read.get(), STDIN_FILENO);
  else actions.open(STDIN_FILENO, "/dev/null", O_RDONLY);
  if (output) actions.connect(output->write.get(), STDOUT_FILENO);
  else actions.connect(STDERR_FILENO, STDOUT_FILENO);
  actions.connect(errors.write.get(), STDERR_FILENO);
  for (const auto& fd : options.passed) actions.connect(fd.get(), fd.get());

  child->pid_ = TRY(actions.run(std::move(options.arguments), options.environment));
  if (input) child->in_ = std::move(input->write);
  if (output) child->out_ = std::move(output->read);
  child->err_ = std::move(errors.read);
  errors.write = Fd();
  child->collector_ = std::thread([raw = child.get()] { raw->collect_errors(); });
  return child;
}

ChildProcess::~ChildProcess() { end(); }

void ChildProcess::end() {
  in_ = Fd();
  out_ = Fd();
  if (pid_ > 0 && status_ < 0) {
    ::kill(-pid_, SIGTERM);  // with all that it started: it leads a group of its own
    const auto until = std::chrono::steady_clock::now() + kPatience;
    int status = 0;
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() >= until) {
        ::kill(-pid_, SIGKILL);
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
        break;
      }
      std::this_thread::sleep_for(kStep);
    }
    status_ = status;
  }
  ended_ = true;
  if (collector_.joinable()) collector_.join();
}

void ChildProcess::collect_errors() {
  std::array<char, 4096> buffer{};
  for (;;) {
    // What the program wrote is in the pipe when it ends; what it left running may hold the pipe open for ever.
    const bool is_last = ended_;
    pollfd one{err_.get(), POLLIN, 0};
    const int n = ::poll(&one, 1, is_last ? 0 : kPollMs);
    if (n == 0 && is_last) return;
    if (n == 0 || (n < 0 && errno == EINTR)) continue;
    const auto got = ::read(err_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    errors_.with([&](std::string& text) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
      if (text.size() > kErrorsKept) text.erase(0, text.size() - kErrorsKept);
    });
  }
}

Result<bool> ChildProcess::ready(int fd, short events) {
  for (;;) {
    if (cancel_ != nullptr) TRY(cancel_->check());
    pollfd one{fd, events, 0};
    const int n = ::poll(&one, 1, kPollMs);
    if (n < 0 && errno != EINTR) return errno_error(errno, "poll");
    if (n > 0) return (one.revents & (POLLERR | POLLNVAL)) == 0 || (one.revents & events) != 0;
  }
}

Result<std::size_t> ChildProcess::read(MutableByteView out) {
  PGMINT_ASSERT(out_.valid());
  TRY(ready(out_.get(), POLLIN));
  if (int there = 0; ::ioctl(out_.get(), FIONREAD, &there) == 0 && there > 0 && there < kWorthReading && std::cmp_less(there, out.size())) std::this_thread::sleep_for(kMoment);
  for (;;) {
    const auto got = ::read(out_.get(), out.data(), out.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return errno_error(errno, "read from a program");
  }
}

Result<bool> ChildProcess::write(ByteView data) {
  PGMINT_ASSERT(in_.valid());
  // Set here and not at the start: the flag belongs to the pipe's end that only we have.
  ::fcntl(in_.get(), F_SETFL, O_NONBLOCK);
  while (!data.empty()) {
    if (!TRY(ready(in_.get(), POLLOUT))) return false;
    const auto put = ::write(in_.get(), data.data(), data.size());
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put < 0 && errno == EPIPE) return false;
    if (put < 0) return errno_error(errno, "write to a program");
    data = data.subspan(static_cast<std::size_t>(put));
  }
  return true;
}

Result<int> ChildProcess::wait() {
  PGMINT_ASSERT(pid_ > 0);
  while (status_ < 0) {
    int status = 0;
    const auto waited = ::waitpid(pid_, &status, WNOHANG);
    if (waited < 0 && errno != EINTR) return errno_error(errno, "wait for a program");
    if (waited == pid_) status_ = status;
    else {
      if (cancel_ != nullptr) TRY(cancel_->check());
      std::this_thread::sleep_for(kStep);
    }
  }
  ended_ = true;
  if (collector_.joinable()) collector_.join();
  return WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
}

std::string ChildProcess::errors() const {
  return errors_.with([](const std::string& text) { return text; });
}

}  // namespace pgmint
