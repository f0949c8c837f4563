#include "repository/verify_log.h"

namespace pgmint::repository {

Status VerifyLog::append(AuditEntry entry) {
  auto& repository = cluster_.repository();
  if (repository.is_mirror()) return ok();  // nothing can be written there
  TRY(check_features(repository.format(), Operation::Write));
  if (!writer_) {
    writer_ = TRY(repository.open_cluster(cluster_.id()));
    TRY(writer_->log().refresh());
  }
  // What was seen of an earlier generation is nothing of this one.
  if (writer_->state().generation() != cluster_.state().generation()) {
    for (auto& part : entry.packs) part.seen = 0;
    for (auto& part : entry.wal) part.seen = 0;
  }
  TRY(writer_->log().append(writer_->actor(), std::move(entry)));
  return ok();
}

}  // namespace pgmint::repository
