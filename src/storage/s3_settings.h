// How a bucket is set up, read from what S3 answers, and what that means for backups in it.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "storage/s3_store.h"

namespace pgmint::storage {

/// Of ?versioning, ?object-lock and ?lifecycle; nullopt: nothing is set. Their findings have no subject yet. @errors Storage (no such document)
Result<std::vector<S3Finding>> judge_versioning(const std::optional<Bytes>& xml);
/// @param wanted  objects are to be locked: a bucket without is bad
Result<std::vector<S3Finding>> judge_object_lock(const std::optional<Bytes>& xml, bool wanted);
/// Of ?object-lock too: it is on. @errors as above
Result<bool> bears_object_lock(const std::optional<Bytes>& xml);
/// @param prefix  of the repository, "" or ending in '/': rules for others do not concern it
Result<std::vector<S3Finding>> judge_lifecycle(const std::optional<Bytes>& xml, std::string_view prefix);

}  // namespace pgmint::storage
