// Failures on demand, for tests and for trying out how a command reports them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "storage/forwarding_store.h"
#include "storage/meter_store.h"

namespace pgmint::storage {

/// One thing that goes wrong. The first rule that applies to a call decides.
struct Fault {
  enum class When {
    Before,   ///< the inner store is not asked
    After,    ///< done, then reported as failed
    Torn,     ///< a create that leaves only the first half of its bytes, as no store may; other operations: as Before
    Delay     ///< done and reported as it was, after `delay`
  };
  When when = When::Before;
  Errc code = Errc::Storage;
  std::optional<Operation> on;                            ///< every kind when empty
  std::function<bool(const std::string& name)> matches;   ///< every name (or prefix, of listings) when empty
  std::uint64_t skip = 0;                                 ///< so many applicable calls pass first
  std::uint64_t times = ~std::uint64_t{0};                ///< then so many fail
  std::chrono::microseconds delay{};                      ///< before the call, with every `when`
  std::function<void()> then;                             ///< called when the rule fires, outside locks, e.g. to cancel
};

/// Thread-safe. A listing fails before its first object or, with After, behind its last.
class FaultStore final : public ForwardingStore {
 public:
  /// Borrows the clock.
  FaultStore(std::unique_ptr<BlobStore> inner, Clock& clock) : ForwardingStore(std::move(inner)), clock_(clock) {}

  void add(Fault fault);
  void clear();
  /// Calls so far, including those that failed.
  std::uint64_t operations() const;

  Result<Created> create(const std::string& name, ByteView data) override;
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override;
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override;
  Result<std::optional<BlobInfo>> stat(const std::string& name) override;
  Status list(const std::string& prefix, const std::string& after,
              const std::function<Status(const BlobInfo&)>& visit) override;
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override;
  Status remove(const std::string& name) override;

 private:
  struct Rule {
    Fault fault;
    std::uint64_t seen = 0;
  };
  std::optional<Fault> due(Operation operation, const std::string& name);
  template <class F>
  auto with_faults(Operation kind, const std::string& name, F operation) -> decltype(operation());

  Clock& clock_;
  mutable std::mutex mutex_;
  std::vector<Rule> rules_;
  std::uint64_t operations_ = 0;
};

}  // namespace pgmint::storage
