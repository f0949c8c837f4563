// Two stores that look like one: what a rule says about a name decides where it lives. Decision: docs/adr/0038-log-in-a-bucket-of-its-own.md
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "storage/blob_store.h"

namespace pgmint::storage {

enum class Side {
  First,   ///< in the first store alone
  Second,  ///< in the second store alone
  Both     ///< created in the second, which decides who creates it, and kept in the first too; read from the first, else from the second
};

struct SideRule {
  std::function<Side(const std::string& name)> of_name;
  std::function<Side(const std::string& prefix)> of_prefix;  ///< Both where names of more than one side may begin so
};

/// Describes itself as the first does, whose time it has. @errors as the store that was asked; of what both keep: Corruption when they differ
std::unique_ptr<BlobStore> make_split_store(std::unique_ptr<BlobStore> first, std::unique_ptr<BlobStore> second, SideRule rule);

}  // namespace pgmint::storage
