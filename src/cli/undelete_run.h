// pgmint repair --undelete: what was deleted or overwritten in a bucket that keeps versions comes back.
#pragma once

#include "cli/context.h"

namespace pgmint::cli {

/// Shows what would come back; with --yes it does, then the repository is opened and looked through. @errors Precondition (no bucket, or one without versions), Storage, Key
Result<int> run_undelete(Context& context);

}  // namespace pgmint::cli
