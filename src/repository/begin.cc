#include "repository/begin.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"

namespace pgmint::repository {
namespace {

using namespace std::chrono_literals;

constexpr auto kNamesApart = 2s;

/// Whether an open backup may have the name of this moment: its own moment lies at most a second before its BEGIN.
bool begun_beside(const LogState& state, TimePoint started) {
  return std::ranges::any_of(state.open_sessions(), [&](const auto& open) {
    const auto& session = open.second;
    return session.purpose == SessionPurpose::Write && session.begun > started - kNamesApart &&
           session.begun < started + kNamesApart;
  });
}

}  // namespace

std::string backup_name(TimePoint started, BackupType type) {
  return fmt::format("{}-{}", format_compact(started), backup_type_suffix(type));
}

Result<Begun> begin_session(Cluster& cluster, std::optional<SessionId> parent,
                            BackupType type, const CancelToken* cancel) {
  auto& clock = cluster.repository().environment().clock;
  for (;;) {
    Begun begun;
    bool taken = false;
    auto session = WriteSession::begin(cluster, parent, [&](const LogState& state) -> Status {
      begun.started = clock.now();
      begun.name = backup_name(begun.started, type);
      taken = state.find(begun.name) != nullptr || begun_beside(state, begun.started) ||
              state.find(backup_name(begun.started, BackupType::Full)) != nullptr;
      if (taken) return Error(Errc::Busy, fmt::format("the name {} is taken", begun.name));
      return ok();
    });
    if (session) {
      begun.session = std::move(*session);
      return begun;
    }
    if (!taken) return std::move(session).failure();
    if (cancel != nullptr) TRY(cancel->check());
    clock.sleep(1s);
  }
}

}  // namespace pgmint::repository
