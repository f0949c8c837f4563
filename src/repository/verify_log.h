// How a verification writes into the log what it found. Private to it.
#pragma once

#include <memory>

#include "repository/repository.h"

namespace pgmint::repository {

class VerifyLog {
 public:
  /// Borrows the cluster, whose own log stays as it was read: a verification goes by one state from beginning to end.
  explicit VerifyLog(Cluster& cluster) : cluster_(cluster) {}
  /// In a mirror, where nothing can be written, it does nothing. @errors as Log::append: this key may not write, the store is read-only
  Status append(AuditEntry entry);

 private:
  Cluster& cluster_;
  std::unique_ptr<Cluster> writer_;
};

}  // namespace pgmint::repository
