// Gives a new file its name in one step, durably: the heart of create() on a file system.
#pragma once

#include <string>

#include "base/bytes.h"
#include "storage/blob_store.h"
#include "storage/posix_store.h"

namespace pgmint::storage {

/// Whether a directory entry is a temporary of publish_file(): ".tmp-" and 16 hex digits.
bool is_temporary_name(std::string_view leaf);

/// errno as an error of this store: EACCES and EPERM are Key, all else Storage.
Error posix_error(int error_number, std::string_view what);
/// An Io error of base/file.h happened in the repository; other kinds stay what they are.
Error as_storage_error(Error error);

/// Writes `stream` to a temporary beside `leaf` in the open `directory`, fsyncs, names it `leaf` unless that exists, and
/// fsyncs the directory. `what` is for messages. AlreadyExists too is durable when returned.
/// @errors Storage (nothing published), Unknown (named, but the directory's fsync failed), Key,
///         Precondition (the file system can neither rename without replacing nor make hard links)
Result<Created> publish_file(const Fd& directory, const std::string& leaf, const BlobStream& stream,
                             const PosixOptions& options, std::string_view what);

}  // namespace pgmint::storage
