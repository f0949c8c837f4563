#include "base/signals.h"

#include <csignal>
#include <unistd.h>

namespace pgmint {
namespace {
CancelToken process_token;  // static: a signal handler may run at any time

void on_signal(int) {
  if (process_token.requested()) ::_exit(130);
  process_token.cancel();
}
}  // namespace

CancelToken& install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a blocking wait should notice
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  return process_token;
}

}  // namespace pgmint
