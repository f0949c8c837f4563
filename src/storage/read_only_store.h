// Refuses everything that would change the store: around one that must not be written, whoever asks.
#pragma once

#include <functional>
#include <memory>

#include "storage/blob_store.h"

namespace pgmint::storage {

/// Reads go to `inner`, which it borrows; create and remove fail with what `refusal` makes. Thread-safe where both are.
std::unique_ptr<BlobStore> make_read_only_store(BlobStore& inner, std::function<Error()> refusal);

}  // namespace pgmint::storage
