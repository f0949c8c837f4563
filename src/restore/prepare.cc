#include "restore/prepare.h"

#include <fmt/format.h>

#include <charconv>

#include "postgres/backup_label.h"
#include "postgres/version_table.h"
#include "repository/layout.h"

namespace pgmint::restore {
namespace {

/// Of a path below pg_tblspc/<oid>/; 0: the data directory itself.
std::uint32_t tablespace_of(std::string_view path) {
  constexpr std::string_view kTablespaces = "pg_tblspc/";
  if (!path.starts_with(kTablespaces)) return 0;
  path.remove_prefix(kTablespaces.size());
  std::uint32_t oid = 0;
  std::from_chars(path.data(), path.data() + path.size(), oid);
  return oid;
}

Result<Survey> survey_manifest(const RestoreRequest& request, const repository::ManifestRoot& root) {
  Survey survey;
  if (postgres::find_version(static_cast<int>(root.pg_major)) == nullptr)
    return Error(Errc::Precondition, fmt::format("backup {} is of PostgreSQL {}, which this pgmint does not know", root.name, root.pg_major),
                 Hint{"restore it with the pgmint that made it, or a newer one"});
  repository::RecordOpener opener(request.cluster.context(), request.cluster.keys());
  TRY(repository::walk_manifest(request.cluster.store(), request.cluster.context(), opener, root, [&](const repository::FileEntry& e) -> Status {
    if (request.cancel != nullptr) TRY(request.cancel->check());
    if (e.area == repository::FileArea::Data && e.path == "PG_VERSION") survey.owner = e.owner;
    if (e.area == repository::FileArea::Data && e.path == "global/pg_control") survey.has_control = true;
    // Of the restore's own making.
    if (e.area == repository::FileArea::Data && (e.path == "standby.signal" || e.path == "recovery.signal")) return ok();
    if (e.kind == repository::FileKind::Bundled || e.kind == repository::FileKind::Mapped || e.kind == repository::FileKind::Empty) {
      ++survey.files;
      survey.bytes.total += e.size;
      if (const auto oid = e.area == repository::FileArea::Data ? tablespace_of(e.path) : 0; oid != 0) survey.bytes.in_tablespace[oid] += e.size;
    }
    return ok();
  }));
  if (!survey.has_control || root.backup_label.empty())
    return Error(Errc::Corruption, fmt::format("backup {} lacks {}", root.name, survey.has_control ? "its backup label" : "pg_control"),
                 Hint{"choose another backup with --backup; pgmint verify names what else is wrong"});
  TRY(postgres::parse_backup_label(as_text(root.backup_label)).context(fmt::format("backup label of {}", root.name)));
  return survey;
}

/// Every pack that the log promises is there in its size: a hole is found now, not at 90 percent.
Status expect_packs(const RestoreRequest& request, const repository::ManifestRoot& root) {
  if (request.from_manifest) return ok();
  const auto& snapshots = request.cluster.state().snapshots();
  auto it = snapshots.find(root.session);
  if (it == snapshots.end()) return ok();
  const auto packs = request.cluster.state().packs_of(it->second);
  for (const auto& pack : packs) {
    const auto name = repository::pack_name(request.cluster.id(), pack.id);
    const auto info = TRY(request.cluster.store().stat(name));
    if (!info || info->size != pack.size)
      return Error(Errc::Corruption, fmt::format("{} {}", name, info ? "has another size than was committed" : "is missing"),
                   Hint{fmt::format("backup {} cannot be restored whole; choose another with --backup; pgmint verify names what is affected", root.name)});
  }
  return ok();
}

}  // namespace

Result<Prepared> prepare(const RestoreRequest& request, const std::function<void(Step, const std::string&)>& at) {
  Prepared prepared;
  if (at) at(Step::Backup, "");
  prepared.choice = TRY(choose(request));
  const auto& root = prepared.choice.root;
  if (at) at(Step::Manifest, root.name);
  prepared.survey = TRY(survey_manifest(request, root));
  if (at) at(Step::Packs, root.name);
  TRY(expect_packs(request, root));
  if (request.to.empty()) return prepared;
  if (at) at(Step::Place, root.name);
  prepared.target = TRY(plan_target(request, root, prepared.survey.bytes, prepared.survey.owner));
  return prepared;
}

}  // namespace pgmint::restore
