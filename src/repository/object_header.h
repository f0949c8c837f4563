// The 64 bytes in front of every object. Format: docs/format/README.md, "The common header".
#pragma once

#include "base/bytes.h"
#include "repository/ids.h"

namespace pgmint::repository {

enum class ObjectKind : std::uint8_t {
  Format = 1, KeySlot = 2, KeyRing = 3, LogEntry = 4, Checkpoint = 5, ManifestRoot = 6, Pack = 7, Wal = 8,
  MirrorMark = 9, MirrorAbsence = 10
};
inline constexpr std::uint8_t kSuite1 = 1;
inline constexpr std::size_t kHeaderSize = 64;

struct ObjectHeader {
  ObjectKind kind{};
  Epoch epoch{};
  RepositoryId repository{};
  ClusterId cluster{};
  SessionId object{};
};

ByteArray<kHeaderSize> encode_header(const ObjectHeader& header);
/// Checks magic, version and suite, and that the kind is `kind`. @errors Corruption, Precondition (a newer format version)
Result<ObjectHeader> parse_header(ByteView object, ObjectKind kind);
/// As above, and that repository and cluster are the expected ones: an object copied from elsewhere is damage.
Result<ObjectHeader> expect_header(ByteView object, ObjectKind kind, const RepositoryId& repository, const ClusterId& cluster);

}  // namespace pgmint::repository
