// What became of recoveries, in the repository's log. The repository may be what has failed: then it waits on this host.
#pragma once

#include "cli/context.h"
#include "service/incident_store.h"

namespace pgmint::cli {

/// Writes an AUDIT entry "recovery" for each run, of `current` and of earlier incidents, that is not in the log yet, into the log of each cluster that this host may write, and
/// notes that in the journals. Never fails: what cannot be written is a warning, and waits for the next recovery.
void log_incidents(Context& context, const service::IncidentStore& store, service::IncidentRecord& current);

}  // namespace pgmint::cli
