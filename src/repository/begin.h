// BEGIN: a session in the log, under a name that is nobody else's.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/cancel.h"
#include "repository/session.h"

namespace pgmint::repository {

/// "20240120-010000-full".
std::string backup_name(TimePoint started, BackupType type);

struct Begun {
  std::unique_ptr<WriteSession> session;
  TimePoint started;
  std::string name;
};

/// The log orders those who begin at once, so that each sees the one before. A name has a resolution of one second; who finds it
/// taken, by a snapshot or by an open session that may yet become one, waits for the next. A backup of any type may become a
/// full before it ends, so its name as a full has to be free too.
/// @param cancel  borrowed, may be null
/// @errors as WriteSession::begin; Cancelled
Result<Begun> begin_session(Cluster& cluster, std::optional<SessionId> parent,
                            BackupType type, const CancelToken* cancel);

}  // namespace pgmint::repository
