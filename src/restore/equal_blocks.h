// Which extents of a file that is there already are what a backup holds, told without fetching them.
#pragma once

#include "repository/segment_map.h"

namespace pgmint::restore {

/// Whether some page of extent `i` stands in a delta. Then the extent's fingerprint, which is of its base record, says nothing
/// about what belongs there.
bool has_live_delta(const repository::SegmentMap& map, std::uint64_t i);

/// Whether `have`, bytes from a target, is certain to be extent `i`. False also where only fetching would tell.
/// Never by pd_lsn or a page's checksum: a restored, promoted server writes other pages under the same LSNs.
bool is_certainly_equal(repository::RecordOpener& opener, const repository::SegmentMap& map, std::uint64_t i, ByteView have);

}  // namespace pgmint::restore
