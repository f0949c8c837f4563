// A manifest's account of packs, in pieces: one that comes out as in the backup before is referred to where it stands, so that a
// cluster in which nothing changed does not write down its hundreds of thousands of packs again. Format: docs/format/manifest.md.
#pragma once

#include <functional>
#include <vector>

#include "repository/manifest.h"

namespace pgmint::repository {

/// The pieces of `use`, in order, and where each begins and ends hangs on the packs in it alone.
std::vector<Bytes> encode_pack_account(const PackUse& use);
/// Adds one piece to `use`. @param last  of the piece before; becomes the last of this one @errors Corruption
Status parse_account_piece(ByteView piece, PackUse& use, std::optional<PackId>& last);

/// What `root` says of its packs; nullopt: it was written by a pgmint that did not keep account. `visit_raw` (may be null) gets each
/// piece. @errors as read_record
Result<std::optional<PackUse>> read_pack_account(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener,
                                                 const ManifestRoot& root,
                                                 const std::function<void(const RecordLocation&, ByteView raw)>& visit_raw = nullptr);

}  // namespace pgmint::repository
