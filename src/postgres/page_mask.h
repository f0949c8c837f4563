// Whether two versions of a page differ by more than what PostgreSQL changes without WAL.
// Source: src/backend/access/common/bufmask.c, heapam.c (heap_mask), nbtxlog.c (btree_mask), 13 to 18; of what these mask only
// what a primary changes by itself, since both versions are the primary's.
#pragma once

#include "base/bytes.h"

namespace pgmint::postgres {

/// True when `a` and `b`, of one size, are the same page but for LSN, checksum, the hole, hints in the page's flags and prune
/// xid, hint bits of heap tuples, dead line pointers, and the hints in an index page's special area. Pages that are no pages
/// are compared byte by byte.
bool same_but_for_hints(ByteView a, ByteView b);

}  // namespace pgmint::postgres
