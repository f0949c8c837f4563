#include "cli/audit_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "base/units.h"
#include "cli/output.h"
#include "postgres/lsn.h"

namespace pgmint::cli {
namespace {

/// One word for each alternative of EntryContent.
struct Describe {
  const BackupNames& names;

  std::string who(const repository::SessionId& session) const {
    const auto found = names.find(session);
    return found == names.end() ? session.hex() : fmt::format("{} ({})", found->second, session.hex().substr(0, 8));
  }
  std::string operator()(const repository::GenesisEntry& e) const {
    return fmt::format("cluster {}, system identifier {}{}", e.cluster_name, e.system_id,
                       e.snapshots.empty() ? "" : fmt::format(", {} backups taken over", e.snapshots.size()));
  }
  std::string operator()(const repository::BeginEntry& e) const {
    return fmt::format("{} session {}{}, lease until {}",
                       e.purpose == repository::SessionPurpose::Write ? "write" : "read", who(e.session),
                       e.parent ? " of " + who(*e.parent) : "", format_rfc3339(e.lease_until));
  }
  std::string operator()(const repository::RenewEntry& e) const {
    return fmt::format("{} until {}", who(e.session), format_rfc3339(e.lease_until));
  }
  std::string operator()(const repository::SnapEntry& e) const {
    std::uint64_t bytes = 0;
    for (const auto& pack : e.added) bytes += pack.size;
    return fmt::format("{}, {} with {} added, LSN {} to {}", e.name, counted(e.added.size(), "pack"),
                       human(ByteCount(bytes)), postgres::format(postgres::Lsn(e.start_lsn)),
                       postgres::format(postgres::Lsn(e.stop_lsn)));
  }
  std::string operator()(const repository::EndEntry& e) const { return who(e.session); }
  std::string operator()(const repository::ForgetEntry& e) const { return who(e.snapshot); }
  std::string operator()(const repository::HoldEntry& e) const {
    return e.until ? fmt::format("{} until {}: {}", who(e.snapshot), format_rfc3339(*e.until), e.reason) : fmt::format("{}: {}", who(e.snapshot), e.reason);
  }
  std::string operator()(const repository::ReleaseEntry& e) const { return who(e.snapshot); }
  std::string operator()(const repository::PurgeEntry& e) const { return counted(e.packs.size(), "pack"); }
  std::string operator()(const repository::AbortEntry& e) const { return who(e.session); }
  std::string operator()(const repository::EnrolEntry& e) const {
    return fmt::format("{} as {} {}", to_hex(e.key).substr(0, 16), repository::role_name(e.role), e.label);
  }
  std::string operator()(const repository::RevokeEntry& e) const { return to_hex(e.key).substr(0, 16); }
  std::string operator()(const repository::AdoptEntry& e) const {
    return fmt::format("system identifier {}, incarnation {}: {}", e.system_id, e.incarnation.value(), e.reason);
  }
  std::string operator()(const repository::FloorEntry& e) const { return fmt::format("{} timelines", std::max(e.lines.size(), e.window_lines.size())); }
  std::string operator()(const repository::AuditEntry& e) const {
    if (e.run && e.event == "command") return fmt::format("{}: {} ({})", e.run->operation, e.detail, e.run->origin);
    return fmt::format("{}: {}", e.event, e.detail);
  }
};

}  // namespace

BackupNames backup_names(const repository::LogState& state) {
  BackupNames names;
  for (const auto& [session, snapshot] : state.snapshots()) names.emplace(session, snapshot.snap.name);
  return names;
}

std::string entry_kind_text(const repository::EntryContent& content) {
  std::string kind(repository::entry_kind_name(repository::kind_of(content)));
  std::ranges::transform(kind, kind.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return kind;
}

std::string entry_detail(const repository::EntryContent& content, const BackupNames& names) {
  return std::visit(Describe{names}, content);
}

}  // namespace pgmint::cli
