// Tells the [[alert]] channels of the configuration how a recovery goes, beside it: a channel that does not answer costs the recovery no time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/context.h"
#include "service/notify.h"
#include "service/recovery_run.h"

namespace pgmint::cli {

/// Borrows the channels. Not thread-safe; each channel has a thread of its own, so that none waits for another.
class RecoveryMessenger {
 public:
  explicit RecoveryMessenger(const std::vector<service::Channel>& channels);
  ~RecoveryMessenger();

  /// Returns at once.
  void send(const service::Notice& notice, const std::string& incident, bool failed);
  /// Waits until all is delivered, at most `limit`; what is not by then is not. @return who was not told what, and why
  std::vector<std::string> finish(std::chrono::seconds limit);

 private:
  struct Message {
    service::Notification notification;
    std::string what;
  };
  class Line;  ///< to one channel
  std::vector<std::unique_ptr<Line>> lines_;
};

}  // namespace pgmint::cli
