#include "repository/pack_runs.h"

#include <algorithm>

namespace pgmint::repository {
namespace {

constexpr std::size_t kSessionMin = 16 + 1 + 2;
constexpr std::size_t kRunMin = 2;

}  // namespace

std::vector<PackRun> runs_of(std::vector<PackId> packs) {
  std::ranges::sort(packs);
  std::vector<PackRun> runs;
  for (const auto& pack : packs) {
    auto* run = runs.empty() || runs.back().session != pack.session ? nullptr : &runs.back();
    if (run == nullptr || pack.number > std::uint64_t{run->last} + 1) runs.push_back({pack.session, pack.number, pack.number});
    else run->last = pack.number;
  }
  return runs;
}

void write_pack_runs(codec::BinaryWriter& out, const std::vector<PackRun>& runs) {
  PGMINT_ASSERT(runs.size() <= kPackRunsMax);
  std::uint64_t sessions = 0;
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (i == 0 || runs[i].session != runs[i - 1].session) ++sessions;
  out.varint(sessions);
  for (auto run = runs.begin(); run != runs.end();) {
    const auto end = std::find_if(run, runs.end(), [&](const PackRun& other) { return other.session != run->session; });
    out.raw(run->session.bytes);
    out.varint(static_cast<std::uint64_t>(end - run));
    for (std::uint64_t next = 0; run != end; ++run) {
      out.varint(run->first - next);
      out.varint(run->last - run->first);
      next = std::uint64_t{run->last} + 1;
    }
  }
}

Result<std::vector<PackRun>> read_pack_runs(codec::BinaryReader& in) {
  std::vector<PackRun> runs;
  const auto sessions = TRY(in.count(kSessionMin));
  for (std::size_t i = 0; i < sessions; ++i) {
    PackRun run;
    run.session.bytes = TRY(in.array<16>());
    if (!runs.empty() && run.session <= runs.back().session) return in.corrupt("its sessions are not in order");
    const auto count = TRY(in.count(kRunMin));
    if (count == 0) return in.corrupt("a session without packs");
    if (count > kPackRunsMax - runs.size()) return in.corrupt("too many runs of packs");
    std::uint64_t next = 0;
    for (std::size_t j = 0; j < count; ++j) {
      const auto apart = TRY(in.varint());
      if (next > UINT32_MAX || apart > UINT32_MAX - next) return in.corrupt("a pack number exceeds 32 bits");
      if (j > 0 && apart == 0) return in.corrupt("two runs of packs that are one");
      const auto first = next + apart;
      const auto more = TRY(in.varint());
      if (more > UINT32_MAX - first) return in.corrupt("a pack number exceeds 32 bits");
      run.first = static_cast<std::uint32_t>(first);
      run.last = static_cast<std::uint32_t>(first + more);
      runs.push_back(run);
      next = std::uint64_t{run.last} + 1;
    }
  }
  return runs;
}

}  // namespace pgmint::repository
