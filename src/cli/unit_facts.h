// What the configuration says that the daemon's unit must let it reach.
#pragma once

#include "cli/context.h"
#include "cli/service_user.h"
#include "service/unit_file.h"

namespace pgmint::cli {

/// Links of data directories are followed where the caller may look: WAL and tablespaces are read too. @errors Configuration
Result<service::InstallFacts> unit_facts(Context& context, const ServiceUser& user);

}  // namespace pgmint::cli
