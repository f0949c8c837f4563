// WAL that waits on this host while the repository is away: how wal push puts it there, who sends it on, and how that is told.
#pragma once

#include "cli/context.h"
#include "cli/health.h"
#include "wal/push.h"

namespace pgmint::cli {

/// Something waits. A spool that cannot be read is told as a warning, and as waiting. @errors Configuration
Result<bool> wal_waits(Context& context);

/// Stores `request.source` in the spool. Success means that it is durable there, and that something will send it on.
/// @param why  why it is not stored in the repository; null: since something waits before it
/// @errors ResourceLimit (the spool is full), and of the spool's own
Result<wal::PushReport> push_into_spool(Context& context, wal::PushRequest request, const Error* why);

/// Sends what waits into the repository, once. nullopt: somebody else is at it. @errors as wal::Spool::drain(), and of opening the repository
Result<std::optional<wal::Spool::Drained>> drain_spool(Context& context);

/// Before something that needs all WAL in the repository, and would wait for it in vain: as drain_spool(), when something waits. @errors as drain_spool()
Status drain_spool_first(Context& context);

/// While a backup waits for WAL (backup::SendOn): as drain_spool(), and what waits still, and why.
std::optional<std::string> send_on(Context& context);

/// What waits, as status and doctor tell it: "wal-waiting". nullopt: nothing does.
std::optional<Problem> waiting_wal(Context& context);

}  // namespace pgmint::cli
