#include "restore/measured.h"

#include <fmt/format.h>

#include <charconv>

namespace pgmint::restore {
namespace {

constexpr std::string_view kCopied = "; copied ", kReplayed = "; replayed ", kBetween = " bytes in ", kEnds = " ms";
constexpr std::string_view kNotMade = " not made, ", kRestored = "restored ", kOn = "on ";

/// All digits, and a number.
std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string format(std::string_view begins, const policy::Measure& measure) {
  return fmt::format("{}{}{}{}{}", begins, measure.bytes, kBetween, std::chrono::duration_cast<std::chrono::milliseconds>(measure.took).count(), kEnds);
}

std::optional<policy::Measure> parse(std::string_view begins, std::string_view detail) {
  // From its end: what stands before it may hold anything.
  const auto begin = detail.rfind(begins);
  if (begin == std::string_view::npos || detail.size() < begin + begins.size() + kEnds.size() || !detail.ends_with(kEnds)) return std::nullopt;
  const auto inner = detail.substr(begin + begins.size(), detail.size() - kEnds.size() - begin - begins.size());
  const auto between = inner.find(kBetween);
  if (between == std::string_view::npos) return std::nullopt;
  const auto bytes = number(inner.substr(0, between)), took = number(inner.substr(between + kBetween.size()));
  constexpr std::uint64_t kYearMs = 366ULL * 86'400'000;
  if (!bytes || !took || *took > kYearMs) return std::nullopt;
  return policy::Measure{*bytes, std::chrono::milliseconds(*took)};
}

}  // namespace

std::string format_measure(const policy::Measure& copy) { return format(kCopied, copy); }
std::optional<policy::Measure> parse_measure(std::string_view detail) { return parse(kCopied, detail); }

std::string format_proof(const Proof& proof) {
  return fmt::format("{}: {}, {} checks, {}{} warnings, {}on {}{}", proof.backup, proof.passed ? "passed" : "failed", proof.checks,
                     proof.not_made ? fmt::format("{}{}", *proof.not_made, kNotMade) : "", proof.warnings,
                     proof.restored ? fmt::format("{}{}, ", kRestored, format_rfc3339(*proof.restored)) : "", proof.server, proof.replay ? format(kReplayed, *proof.replay) : "");
}

std::optional<Proof> parse_proof(std::string_view detail) {
  Proof proof;
  proof.replay = parse(kReplayed, detail);
  if (proof.replay) detail = detail.substr(0, detail.rfind(kReplayed));
  const auto take = [&](std::string_view until) -> std::optional<std::string_view> {
    const auto at = detail.find(until);
    if (at == std::string_view::npos) return std::nullopt;
    const auto taken = detail.substr(0, at);
    detail.remove_prefix(at + until.size());
    return taken;
  };
  const auto backup = take(": "), outcome = take(", "), checks = take(" checks, ");
  auto warnings = take(" warnings, ");
  if (warnings) {
    if (const auto at = warnings->find(kNotMade); at != std::string_view::npos) {
      const auto not_made = number(warnings->substr(0, at));
      if (!not_made) return std::nullopt;
      proof.not_made = *not_made;
      warnings->remove_prefix(at + kNotMade.size());
    }
  }
  if (detail.starts_with(kRestored)) {
    detail.remove_prefix(kRestored.size());
    const auto time = take(", ");
    if (!time) return std::nullopt;
    const auto parsed = parse_time(*time);
    if (!parsed) return std::nullopt;
    proof.restored = *parsed;
  }
  if (!detail.starts_with(kOn)) return std::nullopt;
  detail.remove_prefix(kOn.size());
  if (!backup || !outcome || !checks || !warnings) return std::nullopt;
  const auto count = number(*checks), warned = number(*warnings);
  if (!count || !warned || (*outcome != "passed" && *outcome != "failed")) return std::nullopt;
  proof.backup = *backup;
  proof.passed = *outcome == "passed";
  proof.checks = *count;
  proof.warnings = *warned;
  proof.server = detail;
  return proof;
}

std::vector<policy::Measure> measured_copies(const repository::LogState& state) {
  std::vector<policy::Measure> measures;
  for (const auto& note : state.recent_audits(kRestoreEvent))
    if (const auto measure = parse_measure(note.detail)) measures.push_back(*measure);
  return measures;
}

std::vector<DatedProof> proofs(const repository::LogState& state) {
  std::vector<DatedProof> all;
  for (const auto& note : state.recent_audits(kValidatedEvent))
    if (auto proof = parse_proof(note.detail); proof && proof->passed) all.push_back({std::move(*proof), note.time});
  return all;
}

const DatedProof* proof_of_restore(const std::vector<DatedProof>& proofs, std::string_view backup, TimePoint restored) {
  const DatedProof* found = nullptr;
  for (const auto& dated : proofs)
    if (dated.proof.backup == backup && (dated.proof.restored ? *dated.proof.restored == restored : dated.time >= restored)) found = &dated;
  return found;
}

std::optional<DatedProof> newest_restore(const std::vector<DatedProof>& proofs) {
  const DatedProof* newest = nullptr;
  const auto when = [](const DatedProof& dated) { return dated.proof.restored.value_or(dated.time); };
  for (const auto& dated : proofs)
    if (newest == nullptr || when(dated) >= when(*newest)) newest = &dated;
  return newest == nullptr ? std::nullopt : std::optional(*newest);
}

std::optional<DatedProof> last_proof(const repository::LogState& state) {
  return newest_restore(proofs(state));
}

std::vector<policy::Measure> measured_replays(const repository::LogState& state) {
  std::vector<policy::Measure> measures;
  for (const auto& note : state.recent_audits(kValidatedEvent))
    if (const auto proof = parse_proof(note.detail); proof && proof->replay) measures.push_back(*proof->replay);
  return measures;
}

}  // namespace pgmint::restore
