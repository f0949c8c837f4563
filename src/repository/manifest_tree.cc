// Nodes of the manifest tree: encoding, the writer that decides where a node ends, the walk.
#include <fmt/format.h>

#include <set>

#include "codec/crc32c.h"
#include "repository/manifest.h"
#include "repository/pack.h"
#include "repository/segment_map.h"
#include "repository/stream_map.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kPathMax = 4096;
constexpr std::size_t kNodeEntriesMax = 4096;
constexpr std::size_t kNodeBytesMax = 1 << 20;
constexpr int kDepthMax = 8;

void encode_entry(codec::BinaryWriter& out, const FileEntry& e) {
  out.u8(static_cast<std::uint8_t>(e.area));
  out.text(e.path);
  out.u8(static_cast<std::uint8_t>(e.kind));
  out.u32(e.mode);
  out.text(e.owner);
  out.text(e.group);
  out.varint(e.uid);
  out.varint(e.gid);
  out.signed_varint(e.mtime_us);
  out.varint(e.size);
  switch (e.kind) {
    case FileKind::Directory:
    case FileKind::Empty: break;
    case FileKind::Bundled: {
      const auto& member = std::get<BundleMember>(e.content);
      encode_location(out, member.bundle);
      out.varint(member.offset);
      out.raw(member.fingerprint);
      break;
    }
    case FileKind::Mapped:
    case FileKind::Stream: encode_location(out, std::get<RecordLocation>(e.content)); break;
    case FileKind::Symlink:
    case FileKind::TablespaceLink: out.text(std::get<std::string>(e.content)); break;
  }
}

Result<FileArea> parse_area(codec::BinaryReader& in) {
  const auto area = TRY(in.u8());
  if (area > static_cast<std::uint8_t>(FileArea::Made)) return in.corrupt("unknown area");
  return static_cast<FileArea>(area);
}

/// A path that a restore may append to its target: relative (but for configuration), without empty, "." or ".." parts.
bool safe_path(FileArea area, std::string_view path) {
  if (area == FileArea::Configuration) {
    if (!path.starts_with('/')) return false;
    path.remove_prefix(1);
  }
  if (path.empty() || path.find('\0') != std::string_view::npos) return false;
  while (true) {
    const auto slash = path.find('/');
    const auto part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Result<FileEntry> parse_entry_at(codec::BinaryReader& in) {
  FileEntry e;
  e.area = TRY(parse_area(in));
  e.path = TRY(in.text(kPathMax));
  if (!safe_path(e.area, e.path)) return in.corrupt("a path leaves its directory");
  const auto kind = TRY(in.u8());
  if (kind < 1 || kind > static_cast<std::uint8_t>(FileKind::Stream)) return in.corrupt("unknown kind of file");
  e.kind = static_cast<FileKind>(kind);
  e.mode = TRY(in.u32());
  e.owner = TRY(in.text(256));
  e.group = TRY(in.text(256));
  const auto uid = TRY(in.varint());
  const auto gid = TRY(in.varint());
  if (uid > UINT32_MAX || gid > UINT32_MAX) return in.corrupt("owner out of range");
  e.uid = static_cast<std::uint32_t>(uid);
  e.gid = static_cast<std::uint32_t>(gid);
  e.mtime_us = TRY(in.signed_varint());
  e.size = TRY(in.varint());
  switch (e.kind) {
    case FileKind::Directory:
    case FileKind::Empty: break;
    case FileKind::Bundled: {
      BundleMember member;
      member.bundle = TRY(parse_location(in));
      const auto offset = TRY(in.varint());
      member.fingerprint = TRY(in.array<16>());
      if (member.bundle.type != RecordType::Bundle || offset > member.bundle.raw_length || e.size > member.bundle.raw_length - offset)
        return in.corrupt("a file does not fit its bundle");
      member.offset = static_cast<std::uint32_t>(offset);
      e.content = member;
      break;
    }
    case FileKind::Mapped: {
      auto location = TRY(parse_location(in));
      if (location.type != RecordType::SegmentMap) return in.corrupt("a file's map is not a map");
      e.content = location;
      break;
    }
    case FileKind::Stream: {
      auto location = TRY(parse_location(in));
      if (location.type != RecordType::StreamIndex) return in.corrupt("a stream's index is not an index");
      e.content = location;
      break;
    }
    case FileKind::Symlink:
    case FileKind::TablespaceLink: e.content = TRY(in.text(kPathMax)); break;
  }
  return e;
}

bool ends_leaf(const FileEntry& e) { return codec::crc32c(as_bytes(e.path)) % 256 == 0; }
bool ends_interior(const ManifestNode::Child& c) { return (codec::crc32c(as_bytes(c.first_path)) >> 8) % 256 == 0; }

}  // namespace

bool entry_before(const FileEntry& a, const FileEntry& b) {
  if (a.area != b.area) return a.area < b.area;
  return a.path < b.path;
}

Bytes encode_node(const ManifestNode& node) {
  codec::BinaryWriter out;
  out.u8(node.leaf ? 0 : 1);
  if (node.leaf) {
    out.varint(node.entries.size());
    for (const auto& e : node.entries) encode_entry(out, e);
  } else {
    out.varint(node.children.size());
    for (const auto& c : node.children) {
      out.u8(static_cast<std::uint8_t>(c.area));
      out.text(c.first_path);
      encode_location(out, c.location);
    }
  }
  return out.take();
}

Result<ManifestNode> parse_node(ByteView data) {
  codec::BinaryReader in(data, "manifest node");
  ManifestNode node;
  const auto kind = TRY(in.u8());
  if (kind > 1) return in.corrupt("unknown kind of node");
  node.leaf = kind == 0;
  if (node.leaf) {
    const auto count = TRY(in.count(13));
    node.entries.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      node.entries.push_back(TRY(parse_entry_at(in)));
      if (i > 0 && !entry_before(node.entries[i - 1], node.entries[i])) return in.corrupt("entries are not in order");
    }
  } else {
    const auto count = TRY(in.count(40));
    node.children.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      ManifestNode::Child c;
      c.area = TRY(parse_area(in));
      c.first_path = TRY(in.text(kPathMax));
      c.location = TRY(parse_location(in));
      if (c.location.type != RecordType::ManifestNode) return in.corrupt("a child is not a node");
      if (i > 0) {
        const auto& before = node.children.back();
        if (c.area < before.area || (c.area == before.area && c.first_path <= before.first_path)) return in.corrupt("children are not in order");
      }
      node.children.push_back(std::move(c));
    }
  }
  TRY(in.expect_end());
  return node;
}

Status ManifestTreeWriter::add(FileEntry entry) {
  PGMINT_ASSERT(pending_.empty() || entry_before(pending_.back(), entry));
  const bool ends = ends_leaf(entry);
  pending_bytes_ += entry.path.size() + 160;
  pending_.push_back(std::move(entry));
  if (ends || pending_.size() >= kNodeEntriesMax || pending_bytes_ >= kNodeBytesMax) return flush_leaf();
  return ok();
}

Status ManifestTreeWriter::flush_leaf() {
  ManifestNode node;
  ManifestNode::Child child{pending_.front().area, pending_.front().path, {}};
  node.entries = std::move(pending_);
  child.location = TRY(store_node_(encode_node(node)));
  leaves_.push_back(std::move(child));
  pending_.clear();
  pending_bytes_ = 0;
  return ok();
}

Result<ManifestTreeWriter::Tree> ManifestTreeWriter::finish() && {
  if (!pending_.empty()) TRY(flush_leaf());
  if (leaves_.empty()) {
    ManifestNode empty;
    return Tree{TRY(store_node_(encode_node(empty))), 0};
  }
  auto level = std::move(leaves_);
  std::uint8_t depth = 0;
  while (level.size() > 1) {
    std::vector<ManifestNode::Child> above;
    ManifestNode node;
    node.leaf = false;
    auto flush = [&]() -> Status {
      ManifestNode::Child parent{node.children.front().area, node.children.front().first_path, {}};
      parent.location = TRY(store_node_(encode_node(node)));
      above.push_back(std::move(parent));
      node.children.clear();
      return ok();
    };
    for (auto& child : level) {
      // A node of one child would never shrink the level: the first child does not end its node.
      const bool ends = ends_interior(child) && !node.children.empty();
      node.children.push_back(std::move(child));
      if (ends || node.children.size() >= kNodeEntriesMax) TRY(flush());
    }
    if (!node.children.empty()) TRY(flush());
    level = std::move(above);
    ++depth;
  }
  return Tree{level.front().location, depth};
}

namespace {

struct Walk {
  storage::BlobStore& store;
  const RecordContext& context;
  RecordOpener& opener;
  const std::function<Status(const FileEntry&)>& visit;
  const std::function<Status(const RecordLocation&)>& visit_node;
  const std::function<Status(const RecordLocation&, ByteView)>& visit_raw_node;
  std::optional<FileEntry> last;

  Status node(const RecordLocation& location, int depth) {
    if (visit_node) TRY(visit_node(location));
    const Bytes raw = TRY(read_record(store, context, opener, location));
    if (visit_raw_node) TRY(visit_raw_node(location, raw));
    auto parsed = TRY(parse_node(raw));
    if (parsed.leaf != (depth == 0)) return Error(Errc::Corruption, "manifest node: it is of another depth than its parent says");
    for (const auto& child : parsed.children) TRY(node(child.location, depth - 1));
    for (auto& entry : parsed.entries) {
      if (last && !entry_before(*last, entry)) return Error(Errc::Corruption, "manifest: entries are not in order across nodes");
      TRY(visit(entry));
    }
    if (!parsed.entries.empty()) last = std::move(parsed.entries.back());
    return ok();
  }
};

}  // namespace

Status walk_manifest(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener, const ManifestRoot& root,
                     const std::function<Status(const FileEntry&)>& visit,
                     const std::function<Status(const RecordLocation&)>& visit_node,
                     const std::function<Status(const RecordLocation&, ByteView)>& visit_raw_node) {
  if (root.tree_depth > kDepthMax || root.tree.type != RecordType::ManifestNode)
    return Error(Errc::Corruption, fmt::format("manifest of {}: its tree is malformed", root.name));
  Walk walk{store, context, opener, visit, visit_node, visit_raw_node, std::nullopt};
  return walk.node(root.tree, root.tree_depth).context(fmt::format("manifest of {}", root.name));
}

Result<PackUse> measure_pack_use(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener, const ManifestRoot& root) {
  PackUse use;
  std::set<std::pair<PackId, std::uint64_t>> bundles;
  DistinctRecords streams;
  TRY(walk_manifest(
      store, context, opener, root,
      [&](const FileEntry& entry) -> Status {
        if (const auto* member = std::get_if<BundleMember>(&entry.content))
          if (bundles.emplace(member->bundle.pack, member->bundle.offset).second) use.add(member->bundle);
        const auto* map = std::get_if<RecordLocation>(&entry.content);
        if (map == nullptr) return ok();
        use.add(*map);
        if (entry.kind == FileKind::Stream) return note_stream(store, context, opener, TRY(read_stream_index(store, context, opener, *map)), streams);
        use.add(TRY(parse_segment_map(TRY(read_record(store, context, opener, *map)))));
        return ok();
      },
      [&](const RecordLocation& node) -> Status {
        use.add(node);
        return ok();
      }));
  use.add(std::move(streams).settle());
  return use;
}

}  // namespace pgmint::repository
