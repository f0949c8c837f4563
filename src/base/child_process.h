// A program run beside this one: its arguments, its standard streams as pipes, what it says on standard error.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/cancel.h"
#include "base/file.h"
#include "base/guarded.h"

namespace pgmint {

/// One child. Not thread-safe, but reading and writing may happen in two threads. Destroying one that still runs ends it
/// and all that it started (SIGTERM, after five seconds SIGKILL).
class ChildProcess {
 public:
  struct Options {
    std::vector<std::string> arguments;                              ///< the program's path first
    std::vector<std::pair<std::string, std::string>> environment{};  ///< beside this process's own
    bool pipe_input = false;                                         ///< else /dev/null
    bool pipe_output = false;                                        ///< else this process's standard error
    std::vector<Fd> passed{};                                        ///< open in the child too, under the same numbers
    const CancelToken* cancel = nullptr;                             ///< borrowed; ends every wait
  };
  /// @errors NotFound (no such program), Key (may not be run), Io
  static Result<std::unique_ptr<ChildProcess>> start(Options options);
  ~ChildProcess();

  /// Some bytes of its standard output; 0 at the end. @errors Cancelled, Io
  Result<std::size_t> read(MutableByteView out);
  /// False: the child has closed its standard input, or ended; the process ignores SIGPIPE (signals.h). @errors Cancelled, Io
  Result<bool> write(ByteView data);
  void close_input() { in_ = Fd(); }
  /// Waits for its end. @return its exit status, 128 and the signal's number where one ended it. @errors Cancelled, Io
  Result<int> wait();
  /// The last 64 KiB of its standard error, complete after wait().
  std::string errors() const;

 private:
  explicit ChildProcess(const CancelToken* cancel) : cancel_(cancel) {}
  void end();
  void collect_errors();
  Result<bool> ready(int fd, short events);

  const CancelToken* cancel_;
  int pid_ = -1;
  int status_ = -1;  ///< once it has been waited for
  std::atomic<bool> ended_{false};
  Fd in_, out_, err_;
  std::thread collector_;
  Guarded<std::string> errors_;
};

}  // namespace pgmint
