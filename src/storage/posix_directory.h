// Walks a directory tree as a flat, sorted set of objects.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "storage/blob_store.h"

namespace pgmint::storage {

struct DirectoryTree {
  const Fd& root;
  const fs::path& root_path;  ///< for messages
  std::string after;          ///< only names beyond this
};

/// Objects below `directory` ("" or ending in '/') whose next part begins with `leaf_prefix`, in byte order of their whole
/// names. Holds the names of one directory and its ancestors at a time. What is not an object's name (temporaries,
/// lost+found) is passed over. @errors Storage, Key
Status list_objects(const DirectoryTree& tree, const std::string& directory, const std::string& leaf_prefix,
                    const std::function<Status(const BlobInfo&)>& visit);
/// The parts below `directory` that are objects or hold some at any depth, sorted. @errors Storage, Key
Result<std::vector<std::string>> list_object_parts(const DirectoryTree& tree, const std::string& directory);

/// Whether the directory has any entry at all, temporaries included; false when it does not exist. @errors Storage, Key
Result<bool> holds_anything(const DirectoryTree& tree, const std::string& directory);

/// Calls `visit(open directory, leaf)` for each temporary file in the tree. @errors Storage, Key
Status list_temporaries(const DirectoryTree& tree, const std::string& directory,
                        const std::function<Status(int directory_fd, const std::string& leaf)>& visit);

}  // namespace pgmint::storage
