// A recovery plan: any bytes are a plan that can be run, or Errc::Configuration. And a journal: any bytes are one that was written, or Errc::Corruption.
#include "cli/recovery_plan_file.h"
#include "fuzz_input.h"
#include "service/incident_record.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  static const auto configuration = cli::parse_configuration("[cluster.main]\ndata_directory = \"/srv/pg\"\n", "pgmint.toml").value();
  const auto text = as_text(fuzz_input(data, size));
  const auto plan = cli::parse_recovery_plan(text, "fuzz.toml", {{"/usr/bin/pgmint"}, configuration});
  if (plan) {
    PGMINT_ASSERT(service::check_plan(*plan));
    for (const auto& step : plan->steps) {
      PGMINT_ASSERT(!step.command.empty() || step.check);
      PGMINT_ASSERT(step.timeout.count() > 0);
      PGMINT_ASSERT(!step.check || step.check->limit <= service::kCheckLimitMax);
      PGMINT_ASSERT(plan->find(step.name) == &step);
      if (step.check) PGMINT_ASSERT(!service::describe(*step.check).empty());
    }
  } else {
    PGMINT_ASSERT(plan.error().code() == Errc::Configuration);
    PGMINT_ASSERT(plan.error().describe().starts_with("fuzz.toml"));
  }
  const auto record = service::parse_journal(text);
  if (record) PGMINT_ASSERT(service::parse_journal(service::journal_text(*record)));
  else PGMINT_ASSERT(record.error().code() == Errc::Corruption);
  return 0;
}
