// "Not there" is an answer only at the end of WAL: the pure part of what `wal get` decides. Rules: POSTGRES facts 19.
#pragma once

#include <optional>
#include <string>

#include "repository/wal_coverage.h"

namespace pgmint::wal {

/// Why a file that the store does not have may not be called absent; nullopt: it is positively absent.
///
/// A segment is a hole when a later file of its timeline is stored, or when a descendant left the timeline behind it, or when a
/// higher timeline whose history cannot be read holds later segments. A descendant that left the timeline in or before this
/// segment tells nothing about it: the timeline may just have ended there.
/// A history file is a hole when its timeline or a higher one is stored, unless the archive only begins there.
/// Partial and backup files, which recovery never asks for, are simply absent.
std::optional<std::string> why_not_absent(const postgres::WalFileName& name, const repository::WalInventory& inventory,
                                          const repository::WalFloors& floors);

}  // namespace pgmint::wal
