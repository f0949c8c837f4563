// The suite that every backend and every decorator passes.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "storage/blob_store.h"

namespace pgmint::storage {

/// An empty store and whatever must outlive it (a temporary directory, a clock).
struct StoreUnderTest {
  std::vector<std::shared_ptr<void>> keep;
  std::unique_ptr<BlobStore> store;
};

struct StoreFactory {
  std::string name;
  std::function<StoreUnderTest()> make;
};
inline void PrintTo(const StoreFactory& factory, std::ostream* out) { *out << factory.name; }

/// Instantiate it in a source of your own with INSTANTIATE_TEST_SUITE_P and link blob_store_conformance.cc.
class BlobStoreConformance : public testing::TestWithParam<StoreFactory> {
 protected:
  BlobStoreConformance() : subject_(GetParam().make()), store(*subject_.store) {}

 private:
  StoreUnderTest subject_;

 protected:
  BlobStore& store;
};

inline std::string factory_name(const testing::TestParamInfo<StoreFactory>& info) { return info.param.name; }

}  // namespace pgmint::storage
