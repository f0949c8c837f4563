// What commands leave in the hash-chained log when they have ended: who ran them, from where, how they ended; and that the configuration changed.
#pragma once

#include <string>

#include "cli/context.h"

namespace pgmint::cli {

/// Whether a command that has opened the repository is written into its log. Not those that monitoring and PostgreSQL run all day.
bool is_audited(const CommandSpec& command);

/// Writes an AUDIT entry with the command run into the log of each cluster that it was about; of all when it was about none in particular.
/// Commands that only read, and succeed, leave one an hour for the same user, origin and cluster. Does nothing for a command that has not
/// opened the repository, and never fails: a listing at night must not end because its note cannot be written. That is a warning then.
void note_command(Context& context, const Result<int>& result, TimePoint began);

/// An AUDIT entry of another event, for a command that has more to say than that it ran. @errors Storage, Key, Busy
Status note_event(repository::Cluster& cluster, std::string event, std::string detail);

/// The name of the command that wrote an entry ("backup", "key add"), from its command line; empty when that is none of ours.
std::string operation_of(const repository::LogEntry& entry);

/// Who has logged in and from where, as far as this host knows: "alice, sudo by root, ssh from 192.0.2.7, pts/3"; "no login" for what a service ran.
std::string login_origin();

}  // namespace pgmint::cli
