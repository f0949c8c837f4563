// The body of a log entry as fields: what stands between the seal and the fold. Format: docs/format/log.md, the table.
#pragma once

#include "repository/log_entry.h"

namespace pgmint::repository {

/// kind | time | field list, before sealing. Labels, reasons, events and details longer than a text may be are cut.
Bytes encode_body(const LogEntry& entry);
/// Fills time, labels and content. @errors Corruption, Precondition (unknown kind or odd tag: a newer pgmint wrote it)
Status parse_body(ByteView body, LogEntry& entry);

}  // namespace pgmint::repository
