// Holds every store of this layer against the conformance suite.
#include <atomic>

#include "base/file.h"
#include "base/units.h"
#include "storage/blob_store_conformance.h"
#include "storage/cancel_store.h"
#include "storage/fault_store.h"
#include "storage/instant_clock.h"
#include "storage/memory_store.h"
#include "storage/meter_store.h"
#include "storage/posix_store.h"
#include "storage/retry_store.h"
#include "storage/temporary_directory.h"
#include "storage/throttle_store.h"

namespace pgmint::storage {
namespace {

StoreUnderTest memory() { return {{}, make_memory_store()}; }

StoreUnderTest posix(PosixOptions options) {
  auto directory = std::make_shared<TemporaryDirectory>();
  auto store = open_posix_store(directory->path(), std::move(options));
  EXPECT_TRUE(store) << store.failure().describe();
  return {{directory}, std::move(*store)};
}

StoreUnderTest posix_by_link() {
  PosixOptions options;
  options.force_link = true;
  options.open_files_max = 2;
  return posix(options);
}

StoreUnderTest posix_through_the_cache() {
  PosixOptions options;
  options.direct_writes = false;
  return posix(options);
}

StoreUnderTest throttle() {
  auto clock = std::make_shared<InstantClock>();
  auto limiter = std::make_shared<RateLimiter>(1_MiB, *clock);
  return {{clock, limiter}, make_throttle_store(make_memory_store(), *limiter)};
}

StoreUnderTest meter() {
  auto counts = std::make_shared<StoreMeter>();
  return {{counts}, make_meter_store(make_memory_store(), *counts, system_clock())};
}

StoreUnderTest cancel() {
  auto token = std::make_shared<CancelToken>();
  return {{token}, make_cancel_store(make_memory_store(), *token)};
}

StoreUnderTest fault_without_faults() { return {{}, std::make_unique<FaultStore>(make_memory_store(), system_clock())}; }

/// Every third operation fails once with something transient. Of creates only what is certainly not done: after an
/// uncertain one, an object of the same bytes is the caller's by contract, which the suite does not expect.
StoreUnderTest retry_over_faults() {
  auto clock = std::make_shared<InstantClock>();
  auto faults = std::make_unique<FaultStore>(make_memory_store(), *clock);
  auto calls = std::make_shared<std::atomic<std::uint64_t>>(0);
  auto every_third = [calls](const std::string&) { return calls->fetch_add(1) % 3 == 0; };
  Fault create;
  create.on = Operation::Create;
  create.code = Errc::Busy;
  create.matches = every_third;
  faults->add(create);
  for (auto kind : {Operation::Read, Operation::ReadRange, Operation::Stat, Operation::List, Operation::ListParts,
                    Operation::Remove}) {
    Fault other;
    other.on = kind;
    other.when = kind == Operation::Remove || kind == Operation::List ? Fault::When::After : Fault::When::Before;
    other.matches = every_third;
    faults->add(other);
  }
  // Threads share the count, so one of them may meet several faults in a row: many attempts, since none of them waits.
  RetryPolicy policy;
  policy.attempts_max = 1000;
  return {{clock}, make_retry_store(std::move(faults), policy, *clock, system_random())};
}

/// As a command wires them.
StoreUnderTest whole_stack() {
  auto directory = std::make_shared<TemporaryDirectory>();
  auto clock = std::make_shared<InstantClock>();
  auto counts = std::make_shared<StoreMeter>();
  auto limiter = std::make_shared<RateLimiter>(100_MiB, *clock);
  auto store = std::move(*open_posix_store(directory->path(), {}));
  store = make_meter_store(std::move(store), *counts, *clock);
  store = make_throttle_store(std::move(store), *limiter);
  store = make_retry_store(std::move(store), {}, *clock, system_random());
  return {{directory, clock, counts, limiter}, std::move(store)};
}

INSTANTIATE_TEST_SUITE_P(Backends, BlobStoreConformance,
                         testing::Values(StoreFactory{"Memory", memory},
                                         StoreFactory{"Posix", [] { return posix({}); }},
                                         StoreFactory{"PosixByLink", posix_by_link},
                                         StoreFactory{"PosixThroughTheCache", posix_through_the_cache}),
                         factory_name);

INSTANTIATE_TEST_SUITE_P(Decorators, BlobStoreConformance,
                         testing::Values(StoreFactory{"Throttle", throttle}, StoreFactory{"Meter", meter},
                                         StoreFactory{"Cancel", cancel}, StoreFactory{"Fault", fault_without_faults},
                                         StoreFactory{"RetryOverFaults", retry_over_faults},
                                         StoreFactory{"WholeStack", whole_stack}),
                         factory_name);

}  // namespace
}  // namespace pgmint::storage
