#include "repository/object_header.h"

#include <fmt/format.h>

#include <cstring>

#include "codec/binary.h"

namespace pgmint::repository {
namespace {
constexpr std::string_view kMagic = "PGMINT\r\n";
constexpr std::uint16_t kVersion = 1;

std::string_view kind_name(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::Format: return "format file";
    case ObjectKind::KeySlot: return "key slot";
    case ObjectKind::KeyRing: return "key ring";
    case ObjectKind::LogEntry: return "log entry";
    case ObjectKind::Checkpoint: return "checkpoint";
    case ObjectKind::ManifestRoot: return "manifest";
    case ObjectKind::Pack: return "pack";
    case ObjectKind::Wal: return "WAL object";
    case ObjectKind::MirrorMark: return "mirror mark";
    case ObjectKind::MirrorAbsence: return "mirror's note of what vanished";
  }
  return "object";
}
}  // namespace

ByteArray<kHeaderSize> encode_header(const ObjectHeader& header) {
  codec::BinaryWriter out;
  out.raw(as_bytes(kMagic));
  out.u16(kVersion);
  out.u8(static_cast<std::uint8_t>(header.kind));
  out.u8(kSuite1);
  out.u32(header.epoch.value());
  out.raw(header.repository.bytes);
  out.raw(header.cluster.bytes);
  out.raw(header.object.bytes);
  PGMINT_ASSERT(out.size() == kHeaderSize);
  ByteArray<kHeaderSize> raw;
  std::memcpy(raw.data(), out.view().data(), kHeaderSize);
  return raw;
}

Result<ObjectHeader> parse_header(ByteView object, ObjectKind kind) {
  codec::BinaryReader in(object, kind_name(kind));
  if (as_text(TRY(in.raw(8))) != kMagic) return in.corrupt("it does not start with pgmint's magic");
  if (auto version = TRY(in.u16()); version != kVersion)
    return Error(Errc::Precondition, fmt::format("{} has format version {}; this pgmint knows version {}", kind_name(kind), version, kVersion),
                 Hint{"use the pgmint release that wrote this repository, or a newer one"});
  ObjectHeader header;
  header.kind = static_cast<ObjectKind>(TRY(in.u8()));
  if (header.kind != kind) return in.corrupt(fmt::format("it is of kind {}", static_cast<int>(header.kind)));
  if (auto suite = TRY(in.u8()); suite != kSuite1)
    return Error(Errc::Precondition, fmt::format("{} uses cipher suite {}, which this pgmint does not know", kind_name(kind), suite),
                 Hint{"use a newer pgmint"});
  header.epoch = Epoch(TRY(in.u32()));
  header.repository.bytes = TRY(in.array<16>());
  header.cluster.bytes = TRY(in.array<16>());
  header.object.bytes = TRY(in.array<16>());
  return header;
}

Result<ObjectHeader> expect_header(ByteView object, ObjectKind kind, const RepositoryId& repository, const ClusterId& cluster) {
  auto header = TRY(parse_header(object, kind));
  if (header.repository != repository)
    return Error(Errc::Corruption, fmt::format("{} belongs to repository {}, not to this one", kind_name(kind), header.repository.hex()));
  if (header.cluster != cluster)
    return Error(Errc::Corruption, fmt::format("{} belongs to cluster {}", kind_name(kind), header.cluster.hex()));
  return header;
}

}  // namespace pgmint::repository
