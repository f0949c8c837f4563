// The object `format`. Format: docs/format/README.md.
#pragma once

#include "base/clock.h"
#include "crypto/signature.h"
#include "repository/ids.h"
#include "crypto/secret.h"

namespace pgmint::repository {

struct FormatFile {
  RepositoryId repository{};
  TimePoint created{};
  std::uint64_t read_flags = 0, write_flags = 0, delete_flags = 0, verify_flags = 0;
  crypto::PublicKey root{};
  std::string created_by;
  std::string log_url{};  ///< where the log was when the repository was made, for people; empty: beside the packs
};
/// Of read_flags: the log lives in a store of its own (log_apart_rule()).
inline constexpr std::uint64_t kLogApart = 1;
Bytes encode_format(const FormatFile& format, const crypto::Key256& repository_mac_key);
/// Without a key: only the id, to find slots; nothing else may be believed. @errors Corruption, Precondition
Result<RepositoryId> peek_repository_id(ByteView object);
/// @errors Corruption (malformed, or not authentic)
Result<FormatFile> parse_format(ByteView object, const crypto::Key256& repository_mac_key);

enum class Operation { Read, Write, Delete, Verify };
/// @errors Precondition: a feature that this pgmint does not know forbids the operation
Status check_features(const FormatFile& format, Operation operation);

}  // namespace pgmint::repository
