// Ctrl-C for commands that only read: no further request once the token is set.
#pragma once

#include <memory>

#include "base/cancel.h"
#include "storage/blob_store.h"

namespace pgmint::storage {

/// Every operation that begins after the token was set is Errc::Cancelled, so that whoever walks over many objects stops at the
/// next one, however slow the store is. Not for writers: what tidies up after a cancelled run needs the store. Borrows `cancel`.
std::unique_ptr<BlobStore> make_cancel_store(std::unique_ptr<BlobStore> inner, const CancelToken& cancel);

}  // namespace pgmint::storage
