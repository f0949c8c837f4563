#include "cli/restore_estimate.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "repository/pack_account.h"
#include "restore/measured.h"

namespace pgmint::cli {
namespace {

Json seconds_json(const std::optional<std::chrono::microseconds>& took) {
  return took ? Json(std::chrono::duration<double>(*took).count()) : Json(nullptr);
}

Json rate_json(const std::optional<double>& rate) { return rate ? Json(std::llround(*rate)) : Json(nullptr); }

std::string rate_text(const std::optional<double>& rate) {
  return rate ? fmt::format(", at {} a second", human(ByteCount(static_cast<std::uint64_t>(std::llround(*rate))))) : "";
}

/// Every record of the backup is read once: what its account of packs adds up to.
Result<std::uint64_t> stored_bytes(const restore::RestoreRequest& request, const repository::ManifestRoot& root) {
  auto& cluster = request.cluster;
  repository::RecordOpener opener(cluster.context(), cluster.keys());
  auto use = TRY(repository::read_pack_account(cluster.store(), cluster.context(), opener, root));
  if (!use) use = TRY(repository::measure_pack_use(cluster.store(), cluster.context(), opener, root));
  std::uint64_t total = 0;
  for (const auto& [pack, bytes] : use->packs()) total += static_cast<std::uint64_t>(bytes);
  return total;
}

}  // namespace

policy::Measures measures_of(const repository::LogState& state) { return {restore::measured_copies(state), restore::measured_replays(state)}; }

Result<RestoreWork> restore_work(const restore::RestoreRequest& request, const restore::Prepared& prepared) {
  RestoreWork work;
  work.read_bytes = TRY(stored_bytes(request, prepared.choice.root));
  work.replay = TRY(restore::replay_of(request, prepared.choice));
  if (!request.from_manifest) work.estimate = policy::estimate_restore(prepared.survey.bytes.total, work.replay.bytes(), measures_of(request.cluster.state()));
  return work;
}

Json estimate_json(const policy::Estimate& estimate) {
  return {{"copy_s", seconds_json(estimate.copy)},
          {"replay_s", seconds_json(estimate.replay)},
          {"copy_bytes_s", rate_json(estimate.copy_rate)},
          {"replay_bytes_s", rate_json(estimate.replay_rate)},
          {"copies_measured", estimate.copies_measured},
          {"replays_measured", estimate.replays_measured}};
}

std::vector<std::string> estimate_lines(const policy::Estimate& estimate) {
  std::vector<std::string> lines;
  if (!estimate.copy) {
    lines.emplace_back("time: not known: no restore was measured");
  } else {
    lines.push_back(fmt::format("time: about {} to write the files{}, by {} measured", human(*estimate.copy), rate_text(estimate.copy_rate), counted(estimate.copies_measured, "restore")));
  }
  if (estimate.replay && estimate.replays_measured > 0) {
    lines.push_back(fmt::format("      about {} to replay the WAL{}, by {} validated", human(*estimate.replay), rate_text(estimate.replay_rate), counted(estimate.replays_measured, "restore")));
  } else if (estimate.copy) {
    lines.emplace_back("      how long the replay of WAL takes is not known: no restored server was validated (pgmint validate)");
  }
  return lines;
}

}  // namespace pgmint::cli
