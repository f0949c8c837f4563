#include "repository/log_entry.h"

#include <fmt/format.h>

#include "crypto/aead.h"
#include "repository/log_content.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kSignatureDomain = "PGMINT-LOG-ENTRY-01";
constexpr std::size_t kFrameSize = kHeaderSize + 4 + 8 + 32 + 32 + 16 + 4;  ///< everything before B
constexpr std::size_t kSignatureSize = 64;

Bytes signed_message(ByteView before_signature) {
  Bytes message = to_bytes(as_bytes(kSignatureDomain));
  append(message, before_signature);
  return message;
}

struct Frame {
  EntryFrame fields;
  std::uint32_t sealed_length = 0;
};

/// The clear fields between header and B. @errors Corruption
Result<Frame> parse_frame(ByteView object) {
  codec::BinaryReader in(object, "log entry");
  TRY(in.raw(kHeaderSize));
  Frame frame;
  frame.fields.generation = TRY(in.u32());
  frame.fields.seq = TRY(in.u64());
  frame.fields.previous = TRY(in.array<32>());
  frame.fields.actor = TRY(in.array<32>());
  frame.fields.attempt = TRY(in.array<16>());
  frame.sealed_length = TRY(in.u32());
  if (object.size() > kLogEntryMax) return in.corrupt("larger than a log entry may be");
  if (in.remaining() < kSignatureSize || in.remaining() - kSignatureSize != frame.sealed_length)
    return in.corrupt("its length does not fit its body");
  return frame;
}

}  // namespace

std::string_view entry_kind_name(EntryKind kind) {
  switch (kind) {
    case EntryKind::Genesis: return "GENESIS";
    case EntryKind::Begin: return "BEGIN";
    case EntryKind::Renew: return "RENEW";
    case EntryKind::Snap: return "SNAP";
    case EntryKind::End: return "END";
    case EntryKind::Forget: return "FORGET";
    case EntryKind::Hold: return "HOLD";
    case EntryKind::Release: return "RELEASE";
    case EntryKind::Purge: return "PURGE";
    case EntryKind::Abort: return "ABORT";
    case EntryKind::Enrol: return "ENROL";
    case EntryKind::Revoke: return "REVOKE";
    case EntryKind::Adopt: return "ADOPT";
    case EntryKind::Floor: return "FLOOR";
    case EntryKind::Audit: return "AUDIT";
  }
  return "unknown";
}

EntryKind kind_of(const EntryContent& content) {
  // The variant's alternatives stand in the order of the kinds, which start at 1.
  static_assert(std::variant_size_v<EntryContent> == static_cast<std::size_t>(EntryKind::Audit));
  return static_cast<EntryKind>(content.index() + 1);
}

Bytes encode_entry(LogEntry entry, const RecordContext& context, const crypto::Key256& maintenance_key,
                   const crypto::SigningKey& actor, RandomSource& random) {
  entry.actor = actor.public_key();
  const Bytes body = encode_body(entry);
  codec::BinaryWriter out;
  out.raw(encode_header({.kind = ObjectKind::LogEntry, .repository = context.repository, .cluster = context.cluster}));
  out.u32(entry.generation);
  out.u64(entry.seq);
  out.raw(entry.previous);
  out.raw(entry.actor);
  out.raw(entry.attempt);
  out.u32(static_cast<std::uint32_t>(body.size() + crypto::kSealOverhead));
  PGMINT_ASSERT(out.size() == kFrameSize);
  Bytes object = out.take();
  append(object, crypto::Aead(maintenance_key).seal_with_random_nonce(random, object, body));
  append(object, actor.sign(signed_message(object)));
  return object;
}

Result<LogEntry> parse_entry(ByteView object, const RecordContext& context, const crypto::Key256& maintenance_key,
                             std::uint32_t generation, std::uint64_t seq) {
  TRY(expect_header(object, ObjectKind::LogEntry, context.repository, context.cluster));
  const auto frame = TRY(parse_frame(object));
  const auto& fields = frame.fields;
  if (fields.generation != generation || fields.seq != seq)
    return Error(Errc::Corruption, fmt::format("log entry says it is {}/{} and stands at {}/{}", fields.generation,
                                               fields.seq, generation, seq));
  const auto before_signature = object.first(object.size() - kSignatureSize);
  crypto::Signature signature;
  std::copy(object.end() - kSignatureSize, object.end(), signature.begin());
  if (!crypto::verify_signature(fields.actor, signed_message(before_signature), signature))
    return Error(Errc::Corruption, "log entry: its signature does not fit");
  const auto body = TRY(crypto::Aead(maintenance_key)
                            .open_with_nonce(object.first(kFrameSize), before_signature.subspan(kFrameSize))
                            .context("log entry body"));
  LogEntry entry;
  entry.generation = generation;
  entry.seq = seq;
  entry.previous = fields.previous;
  entry.actor = fields.actor;
  entry.attempt = fields.attempt;
  TRY(parse_body(body, entry));
  return entry;
}

std::optional<EntryFrame> frame_of(ByteView object) {
  auto frame = parse_frame(object);
  if (!frame) return std::nullopt;
  return frame->fields;
}

}  // namespace pgmint::repository
