// How the memory and the threads that a backup may take are shared out.
#pragma once

#include <cstdint>

#include "backup/backup.h"

namespace pgmint::backup {

/// Threads that read and compress: those asked for, or as many as the machine runs at once.
unsigned worker_count(const BackupRequest& request);

/// Threads that put packs: more where the store is far away.
unsigned uploader_count(const repository::Cluster& cluster);

/// Packs that wait for one of them.
inline constexpr std::size_t kQueuedPacks = 1;

struct PackSizes {
  std::size_t target = 0, limit = 0;  ///< as in repository::PackSettings
};
/// Packs being filled (by workers, of maps, of the rest), queued and put share `memory_max` with `lists`, the bytes that are kept of the files. A pack is never
/// smaller than 4 MiB, whatever that takes.
PackSizes pack_sizes(std::uint64_t memory_max, unsigned workers, unsigned uploaders, std::uint64_t lists);

}  // namespace pgmint::backup
