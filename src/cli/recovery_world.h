// The world of a recovery: programs, services, the journal on disk, who watches, whom to tell.
#pragma once

#include "cli/context.h"
#include "cli/recovery_messenger.h"
#include "service/incident_store.h"
#include "service/recovery_run.h"

namespace pgmint::cli {

/// Borrows everything.
class RecoveryOnHost final : public service::RecoveryWorld {
 public:
  RecoveryOnHost(Context& context, const service::RecoveryPlan& plan, const service::IncidentStore& store, const service::IncidentRecord& record,
                 RecoveryMessenger& messenger)
      : context_(context), plan_(plan), store_(store), record_(record), messenger_(messenger) {}

  Result<std::unique_ptr<service::RunningCommand>> start(const service::RecoveryStep& step, std::size_t number) override;
  std::string last_words(std::size_t number, std::size_t lines) override;
  Status look(const service::HealthCheck& check, service::milliseconds limit) override;
  bool is_free(const std::string& directory) override;
  Result<service::Leftovers> end_leftovers(const std::string& digest, int session) override;
  bool confirm(const service::RecoveryStep& step) override;
  Status save(const service::IncidentRecord& record) override;
  void tell(std::string_view line) override;
  void warn(std::string_view line) override;
  Status notify(const service::Notice& notice) override;

 private:
  std::string mark(const std::string& digest) const;

  Context& context_;
  const service::RecoveryPlan& plan_;
  const service::IncidentStore& store_;
  const service::IncidentRecord& record_;
  RecoveryMessenger& messenger_;
};

}  // namespace pgmint::cli
