// Counts what goes to the store and back: for progress, show and metrics.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string_view>

#include "base/clock.h"
#include "storage/blob_store.h"

namespace pgmint::storage {

enum class Operation { Create, Read, ReadRange, Stat, List, ListParts, Remove };
inline constexpr std::size_t kOperationKinds = 7;
/// "create", "read_range"; as metrics label them.
std::string_view operation_name(Operation operation);

struct OperationMeter {
  std::atomic<std::uint64_t> calls{0};     ///< finished, failures included
  std::atomic<std::uint64_t> failures{0};  ///< absence and AlreadyExists are answers, not failures
  std::atomic<std::uint64_t> bytes{0};     ///< of contents that moved, successes only
  std::atomic<std::uint64_t> time_us{0};   ///< summed over threads; of List without its visitor
};

/// Read it at any time from any thread; counters of one kind may be a call apart from each other.
struct StoreMeter {
  std::array<OperationMeter, kOperationKinds> kinds;
  OperationMeter& of(Operation operation) { return kinds[static_cast<std::size_t>(operation)]; }
  const OperationMeter& of(Operation operation) const { return kinds[static_cast<std::size_t>(operation)]; }
  std::uint64_t bytes_written() const { return of(Operation::Create).bytes; }
  std::uint64_t bytes_read() const { return of(Operation::Read).bytes + of(Operation::ReadRange).bytes; }
};

/// Borrows meter and clock. Outside a retry store it counts what was asked for, inside it what was sent.
std::unique_ptr<BlobStore> make_meter_store(std::unique_ptr<BlobStore> inner, StoreMeter& meter, Clock& clock);

}  // namespace pgmint::storage
