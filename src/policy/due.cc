#include "policy/due.h"

#include <algorithm>

namespace pgmint::policy {
namespace {

std::chrono::microseconds patience(const JobHistory& history) {
  if (history.end == RunEnd::Interrupted) return {};
  std::chrono::microseconds wait = kRetryFirst;
  if (history.end == RunEnd::Busy) return wait;
  for (unsigned i = 1; i < history.failures && wait < kRetryLast; ++i) wait *= 2;
  return std::min<std::chrono::microseconds>(wait, kRetryLast);
}

}  // namespace

JobHistory corrected(const JobHistory& history, TimePoint now) {
  auto out = history;
  if (out.through > now + kClockStep) out.through = now;
  if (out.ended > now + kClockStep) out.ended = now;
  return out;
}

std::optional<TimePoint> next_planned(const JobTiming& timing, TimePoint through) {
  auto at = timing.schedule.next(through - timing.delay, timing.zone);
  if (at) *at += timing.delay;
  return at;
}

std::optional<TimePoint> next_start(const JobTiming& timing, const JobHistory& history) {
  const auto planned = next_planned(timing, history.through);
  if (!planned || history.end == RunEnd::Settled) return planned;
  return std::min(*planned, history.ended + patience(history));
}

}  // namespace pgmint::policy
