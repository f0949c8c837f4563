// The runbook of an installation: what is where, whom to call, what to type, in the order in which one needs it. Pure.
#pragma once

#include "cli/runbook_facts.h"
#include "service/document.h"

namespace pgmint::cli {

service::Document runbook(const RunbookFacts& facts);

}  // namespace pgmint::cli
