#include "backup/describe.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <map>

#include "crypto/hash.h"
#include "repository/pack_account.h"

namespace pgmint::backup {
namespace {

using postgres::EntryKind;
using repository::FileEntry;
using repository::FileKind;
using repository::RecordLocation;

/// Names of users and groups, each looked up once. A number without a name stays a number in digits.
class OwnerNames {
 public:
  void fill(FileEntry& entry) {
    entry.owner = user(entry.uid);
    entry.group = group(entry.gid);
  }

 private:
  const std::string& user(uid_t id) {
    auto [it, added] = users_.try_emplace(id);
    if (added) {
      passwd entry{};
      passwd* found = nullptr;
      ::getpwuid_r(id, &entry, buffer_, sizeof buffer_, &found);
      it->second = found != nullptr ? found->pw_name : fmt::format("{}", id);
    }
    return it->second;
  }
  const std::string& group(gid_t id) {
    auto [it, added] = groups_.try_emplace(id);
    if (added) {
      ::group entry{};
      ::group* found = nullptr;
      ::getgrgid_r(id, &entry, buffer_, sizeof buffer_, &found);
      it->second = found != nullptr ? found->gr_name : fmt::format("{}", id);
    }
    return it->second;
  }

  std::map<uid_t, std::string> users_;
  std::map<gid_t, std::string> groups_;
  char buffer_[1 << 16];
};

FileEntry entry_of(const postgres::DirectoryEntry& scanned) {
  FileEntry entry;
  entry.path = scanned.path;
  entry.mode = scanned.mode;
  entry.uid = scanned.uid;
  entry.gid = scanned.gid;
  entry.mtime_us = scanned.mtime_ns / 1000;
  return entry;
}

/// nullopt: the file was gone.
std::optional<FileEntry> entry_of(const postgres::DirectoryScan& scan, const postgres::DirectoryEntry& scanned, const CopiedFile& copied) {
  auto entry = entry_of(scanned);
  switch (scanned.kind) {
    case EntryKind::Directory:
      entry.kind = FileKind::Directory;
      return entry;
    case EntryKind::Symlink:
      entry.kind = FileKind::Symlink;
      entry.content = scan.link_targets.at(scanned.path);
      return entry;
    case EntryKind::TablespaceLink:
      entry.kind = FileKind::TablespaceLink;
      entry.content = scan.link_targets.at(scanned.path);
      return entry;
    case EntryKind::RelationSegment:
    case EntryKind::Slru:
    case EntryKind::Required:
    case EntryKind::Other:
    case EntryKind::ControlFile:
      break;
  }
  if (!has_content(scanned)) {  // an empty relation file is not opened
    entry.kind = FileKind::Empty;
    return entry;
  }
  entry.size = copied.length;
  switch (copied.state) {
    case CopiedFile::State::Absent:
      return std::nullopt;
    case CopiedFile::State::Empty:
      entry.kind = FileKind::Empty;
      break;
    case CopiedFile::State::Bundled:
      entry.kind = FileKind::Bundled;
      entry.content = copied.content.member().value();
      break;
    case CopiedFile::State::Mapped:
      entry.kind = FileKind::Mapped;
      entry.content = *copied.content.map();
      break;
  }
  return entry;
}

using Nodes = std::map<crypto::Digest, RecordLocation>;

/// Where the same bytes stand in the parent already, unless they have to leave that pack.
/// @param before  of the parent; may be null
Result<RecordLocation> store_node(repository::PackStream& maps, ByteView node, const Nodes* before, const Forward* forward) {
  if (before != nullptr)
    if (const auto same = before->find(crypto::sha256(node)); same != before->end() && (forward == nullptr || !forward->leaves(same->second)))
      return same->second;
  return maps.append(repository::RecordType::ManifestNode, node);
}

}  // namespace

Result<Described> describe(repository::PackStream& maps, const postgres::DirectoryScan& scan, const std::vector<CopiedFile>& files,
                           FileEntry control, std::vector<FileEntry> extras, const ParentFiles* parent,
                           const Forward* forward, const std::string& owner) {
  Described described;
  OwnerNames names;
  repository::ManifestTreeWriter tree([&](ByteView node) -> Result<repository::RecordLocation> {
    described.nodes.push_back(TRY(store_node(maps, node, parent != nullptr ? &parent->nodes : nullptr, forward)));
    return described.nodes.back();
  });
  auto add = [&](FileEntry entry) -> Status {
    if (owner.empty() || entry.area == repository::FileArea::Configuration)
      names.fill(entry);
    else
      entry.owner = entry.group = owner;
    if (entry.kind == FileKind::Empty || entry.kind == FileKind::Bundled || entry.kind == FileKind::Mapped) {
      ++described.files;
      described.total_bytes += entry.size;
    }
    if (const auto* member = std::get_if<repository::BundleMember>(&entry.content))
      if (described.bundles.empty() || described.bundles.back() != member->bundle) described.bundles.push_back(member->bundle);
    if (const auto* map = std::get_if<repository::RecordLocation>(&entry.content)) described.maps.push_back(*map);
    return tree.add(std::move(entry));
  };

  for (std::size_t i = 0; i < scan.entries.size(); ++i) {
    const auto& scanned = scan.entries[i];
    if (scanned.path.empty()) continue;  // the data directory itself: a restore is told where it is
    if (scanned.kind == EntryKind::ControlFile) {
      auto entry = entry_of(scanned);
      entry.kind = control.kind;
      entry.size = control.size;
      entry.content = std::move(control.content);
      TRY(add(std::move(entry)));
    } else if (auto entry = entry_of(scan, scanned, files[i])) {
      TRY(add(std::move(*entry)));
    }
  }
  for (auto& extra : extras) TRY(add(std::move(extra)));
  described.tree = TRY(std::move(tree).finish());
  return described;
}

Result<std::vector<RecordLocation>> write_account(repository::PackStream& maps, const repository::PackUse& use, const ParentFiles* parent,
                                                  const Forward* forward) {
  std::vector<RecordLocation> pieces;
  for (const auto& piece : repository::encode_pack_account(use))
    pieces.push_back(TRY(store_node(maps, piece, parent != nullptr ? &parent->account : nullptr, forward)));
  return pieces;
}

}  // namespace pgmint::backup
