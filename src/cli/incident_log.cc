#include "cli/incident_log.h"

#include <fmt/format.h>

#include "base/log.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kEvent = "recovery";
constexpr std::size_t kDetailMax = 3500;  ///< of the 4096 bytes that a text in the log may have

Status log_runs(const std::vector<std::unique_ptr<repository::Cluster>>& clusters, service::IncidentRecord& record) {
  for (auto& run : record.runs) {
    if (run.logged) continue;
    for (const auto& cluster : clusters)
      TRY(cluster->log().append(cluster->actor(), repository::AuditEntry{std::string(kEvent), service::run_line(record, run, kDetailMax)}));
    run.logged = true;
  }
  return ok();
}

Status log_all(Context& context, const service::IncidentStore& store, service::IncidentRecord& current) {
  auto& repository = *TRY(context.repository());
  const auto clusters = TRY(repository.clusters());
  if (clusters.empty()) return Error(Errc::Precondition, "the repository holds no cluster, and so no log");
  for (auto& record : TRY(store.all())) {
    if (record.id == current.id || record.in_repository()) continue;
    TRY(log_runs(clusters, record));
    TRY(store.save(record));
  }
  return log_runs(clusters, current);
}

}  // namespace

void log_incidents(Context& context, const service::IncidentStore& store, service::IncidentRecord& current) {
  if (auto logged = log_all(context, store, current); !logged) {
    const auto text = fmt::format("this recovery is recorded on this host alone; the next one tries again to write it into the repository's log: {}", logged.error().describe());
    log_warning("{}", text);
    current.warnings.push_back(redact(text));
  }
  if (auto saved = store.save(current); !saved) log_warning("the journal cannot be written: {}", saved.error().describe());
}

}  // namespace pgmint::cli
