// Holds every store of this layer against the conformance suite.
#include "base/file.h"
#include "storage/blob_store_conformance.h"
#include "storage/memory_store.h"
#include "storage/posix_store.h"
#include "storage/temporary_directory.h"

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

INSTANTIATE_TEST_SUITE_P(Backends, BlobStoreConformance,
                         testing::Values(StoreFactory{"Memory", memory},
                                         StoreFactory{"Posix", [] { return posix({}); }},
                                         StoreFactory{"PosixByLink", posix_by_link}),
                         factory_name);

}  // namespace
}  // namespace pgmint::storage
