#include "backup/stream_changes.h"

#include <fmt/format.h>

#include "base/units.h"

namespace pgmint::backup {
namespace {

using namespace std::chrono_literals;

/// What the server's summarizer may be behind when the backup starts: a few seconds of its work.
constexpr std::uint64_t kSummarizerLag = 256U << 20;
constexpr std::chrono::seconds kSummarizerPatience = 60s;
constexpr auto kAskEvery = 200ms;

}  // namespace

Status StreamChanges::choose(const postgres::ControlFile& control, TimePoint started, const std::function<Status(const std::string&)>& tick) {
  if (!incremental_.active()) return ok();
  if (auto why = TRY(why_not(tick))) {
    why_not_ = std::move(*why);
    return ok();
  }
  TRY(incremental_.read_parent());
  if (!incremental_.active()) return ok();
  come_ = true;
  server_.send_changes_since([this, control, started](const postgres::Connection::Put& put) { return incremental_.write_manifest(put, control, started); });
  return ok();
}

void StreamChanges::give_up(std::string why) {
  server_.abandon();
  server_.send_changes_since({});
  come_ = false;
  why_not_ = std::move(why);
}

Result<postgres::ChangeSet> StreamChanges::changes(const postgres::TimelineHistory& history, postgres::Lsn from, postgres::Lsn to) {
  postgres::ChangeSet none;
  none.void_reason = why_not_;
  if (!come_) return none;
  auto changes = server_.changes(history, from, to);
  if (changes || changes.failure().code() == Errc::Cancelled) return changes;
  none.void_reason = fmt::format("the server does not say what its WAL summaries name: {}", changes.failure().describe());
  return none;
}

std::optional<postgres::Lsn> StreamChanges::since() const {
  return come_ ? std::optional(postgres::Lsn(incremental_.parent().start_lsn)) : std::nullopt;
}

Status check_label(const postgres::BackupLabel& label, const ServerStart& started, std::optional<postgres::Lsn> since) {
  if (label.start_lsn != started.start_lsn)
    return Error(Errc::Postgres, fmt::format("the server returned the label of another backup (start {}, expected {})", postgres::format(label.start_lsn),
                                             postgres::format(started.start_lsn)));
  if (label.incremental_from_lsn == since) return ok();
  const auto name = [](const std::optional<postgres::Lsn>& lsn) { return lsn ? fmt::format("what changed since {}", postgres::format(*lsn)) : std::string("everything"); };
  return Error(Errc::Postgres, fmt::format("the server sent {}, asked for {}", name(label.incremental_from_lsn), name(since)));
}

Result<StreamChanges::Why> StreamChanges::why_not(const std::function<Status(const std::string&)>& tick) {
  const auto& parent = incremental_.parent();
  auto why = server_.why_all_comes(postgres::TimelineId(parent.timeline), postgres::Lsn(parent.start_lsn));
  if (!why) {
    if (why.failure().code() != Errc::Postgres) return std::move(why).failure();
    return Why(fmt::format("the server does not say which WAL summaries it has: {}", why.failure().describe()));
  }
  if (*why) return why;
  return wait_for_summarizer(tick);
}

/// The server itself waits for what is left, and gives up after a minute without progress, as this does.
Result<StreamChanges::Why> StreamChanges::wait_for_summarizer(const std::function<Status(const std::string&)>& tick) {
  std::optional<postgres::Lsn> until;
  postgres::Lsn seen;
  auto moved = clock_.now();
  for (;;) {
    const auto state = server_.summarizer();
    if (!state) {
      if (state.failure().code() != Errc::Postgres) return state.failure();
      return Why(fmt::format("the server does not say how far its WAL is summarised: {}", state.failure().describe()));
    }
    if (!until) until = state->written;
    if (state->summarized.value() + kSummarizerLag >= until->value()) return Why();
    if (std::exchange(seen, state->summarized) != state->summarized) moved = clock_.now();
    if (clock_.now() - moved >= kSummarizerPatience)
      return Why(fmt::format("the server's WAL summarizer has stood at {} for {} s, behind {}", postgres::format(state->summarized),
                             kSummarizerPatience.count(), postgres::format(*until)));
    TRY(tick(fmt::format("the server summarises its WAL: {} of it is left", human(ByteCount(*until - state->summarized)))));
    clock_.sleep(kAskEvery);
  }
}

}  // namespace pgmint::backup
