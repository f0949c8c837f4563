#include "repository/format_file.h"

#include <fmt/format.h>

#include "crypto/hash.h"
#include "repository/field_list.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {
constexpr std::uint64_t kKnownReadFlags = kLogApart, kKnownOtherFlags = 0;

ObjectHeader format_header(const RepositoryId& repository) { return {ObjectKind::Format, Epoch(0), repository, {}, {}}; }
}  // namespace

Bytes encode_format(const FormatFile& format, const crypto::Key256& repository_mac_key) {
  FieldWriter fields;
  fields.u64(1, static_cast<std::uint64_t>(format.created.time_since_epoch().count()));
  fields.text(2, format.created_by);
  codec::BinaryWriter flags;
  for (auto set : {format.read_flags, format.write_flags, format.delete_flags, format.verify_flags}) flags.u64(set);
  fields.add(3, flags.view());
  fields.add(5, format.root);
  if (!format.log_url.empty()) fields.text(6, format.log_url);
  Bytes object = to_bytes(encode_header(format_header(format.repository)));
  append(object, fields.take());
  append(object, crypto::hmac_sha256(repository_mac_key, object));
  return object;
}

Result<RepositoryId> peek_repository_id(ByteView object) { return TRY(parse_header(object, ObjectKind::Format)).repository; }

Result<FormatFile> parse_format(ByteView object, const crypto::Key256& repository_mac_key) {
  const auto header = TRY(parse_header(object, ObjectKind::Format));
  if (object.size() < kHeaderSize + 32) return Error(Errc::Corruption, "format file is cut off");
  const auto signed_part = object.first(object.size() - 32);
  if (!crypto::equal_constant_time(crypto::hmac_sha256(repository_mac_key, signed_part), object.last(32)))
    return Error(Errc::Corruption, "format file is not authentic: somebody without the key changed it");
  codec::BinaryReader in(signed_part.subspan(kHeaderSize), "format file");
  auto fields = TRY(FieldReader::parse(in, "format file", {1, 2, 3, 5, 6}));
  TRY(in.expect_end());
  FormatFile format;
  format.repository = header.repository;
  format.created = TimePoint(std::chrono::microseconds(static_cast<std::int64_t>(TRY(fields.u64(1)))));
  format.created_by = TRY(fields.optional_text(2));
  codec::BinaryReader flags(TRY(fields.value(3)), "feature flags");
  for (auto* set : {&format.read_flags, &format.write_flags, &format.delete_flags, &format.verify_flags}) *set = TRY(flags.u64());
  format.root = TRY(fields.array<32>(5));
  format.log_url = TRY(fields.optional_text(6));
  return format;
}

Status check_features(const FormatFile& format, Operation operation) {
  auto unknown = [&](std::uint64_t set, std::string_view what, std::uint64_t known = kKnownOtherFlags) -> Status {
    if ((set & ~known) == 0) return ok();
    return Error(Errc::Precondition, fmt::format("the repository uses features that this pgmint does not know ({} flags {:#x})", what, set & ~known),
                 Hint{"use a newer pgmint"});
  };
  TRY(unknown(format.read_flags, "read", kKnownReadFlags));
  switch (operation) {
    case Operation::Read: return ok();
    case Operation::Write: return unknown(format.write_flags, "write");
    case Operation::Delete: return unknown(format.delete_flags, "delete");
    case Operation::Verify: return unknown(format.verify_flags, "verify");
  }
  return ok();
}

}  // namespace pgmint::repository
