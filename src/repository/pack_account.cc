#include "repository/pack_account.h"

#include <fmt/format.h>

#include "codec/crc32c.h"
#include "repository/pack.h"

namespace pgmint::repository {
namespace {

constexpr std::uint8_t kKind = 2;  ///< beside 0 and 1, leaves and interior nodes of the tree
constexpr std::size_t kPieceMax = 4096;
constexpr std::uint32_t kPieceMean = 512;

bool ends_piece(const PackId& pack) {
  codec::BinaryWriter id;
  id.raw(pack.session.bytes);
  id.u32(pack.number);
  return codec::crc32c(id.view()) % kPieceMean == 0;
}

}  // namespace

std::vector<Bytes> encode_pack_account(const PackUse& use) {
  std::vector<Bytes> pieces;
  codec::BinaryWriter lines;
  std::size_t count = 0;
  const auto end_piece = [&] {
    codec::BinaryWriter piece;
    piece.u8(kKind);
    piece.varint(count);
    piece.raw(lines.take());
    pieces.push_back(piece.take());
    count = 0;
  };
  for (const auto& [pack, bytes] : use.packs()) {
    lines.raw(pack.session.bytes);
    lines.varint(pack.number);
    lines.varint(bytes);
    if (++count == kPieceMax || ends_piece(pack)) end_piece();
  }
  if (count != 0) end_piece();
  return pieces;
}

Status parse_account_piece(ByteView piece, PackUse& use, std::optional<PackId>& last) {
  codec::BinaryReader in(piece, "account of packs");
  if (TRY(in.u8()) != kKind) return in.corrupt("it is no account");
  const auto count = TRY(in.count(18));
  for (std::size_t i = 0; i < count; ++i) {
    PackId pack;
    pack.session.bytes = TRY(in.array<16>());
    const auto number = TRY(in.varint());
    const auto bytes = TRY(in.varint());
    if (number > UINT32_MAX || bytes == 0 || bytes > kPackMax) return in.corrupt("out of range");
    pack.number = static_cast<std::uint32_t>(number);
    if (last && !(*last < pack)) return in.corrupt("packs are not in order");
    last = pack;
    use.set(pack, bytes);
  }
  return in.expect_end();
}

Result<std::optional<PackUse>> read_pack_account(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener,
                                                 const ManifestRoot& root,
                                                 const std::function<void(const RecordLocation&, ByteView raw)>& visit_raw) {
  if (!root.account) return root.pack_use;
  PackUse use;
  std::optional<PackId> last;
  for (const auto& piece : *root.account) {
    const auto raw = TRY(read_record(store, context, opener, piece));
    TRY(parse_account_piece(raw, use, last).context(fmt::format("manifest of {}", root.name)));
    if (visit_raw) visit_raw(piece, raw);
  }
  return use;
}

}  // namespace pgmint::repository
