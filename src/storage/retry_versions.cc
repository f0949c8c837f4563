#include "storage/retry_versions.h"

#include <set>

#include "storage/attempts.h"

namespace pgmint::storage {
namespace {

class RetryVersions final : public ObjectVersions {
 public:
  RetryVersions(ObjectVersions& inner, RetryPolicy policy, Clock& clock, RandomSource& random, const CancelToken* cancel)
      : inner_(inner), policy_(policy), clock_(clock), random_(random), cancel_(cancel) {}

  Status list(const std::string& prefix, const std::string& from, const std::function<Status(const ObjectVersion&)>& visit) override {
    std::string name = from;      // the last one seen, whose further versions may be missing
    std::set<std::string> seen;   // of that name
    bool refused = false;         // by `visit`: no matter of the store's
    const auto go_on = [&]() -> Status {
      return inner_.list(prefix, name, [&](const ObjectVersion& version) -> Status {
        if (version.name != name) {
          name = version.name;
          seen.clear();
        }
        if (!seen.insert(version.id).second) return ok();
        auto visited = visit(version);
        refused = !visited;
        return visited;
      });
    };
    std::optional<Attempts> tries(attempts());
    for (;;) {
      const auto before = std::pair(name, seen.size());
      auto listed = go_on();
      if (listed || refused) return listed;
      // A listing of hundreds of pages may fail more often than one request may.
      if (std::pair(name, seen.size()) != before) tries.emplace(policy_, clock_, random_, cancel_, trouble_);
      if (!tries->left_after(listed.failure())) return listed;
      TRY(tries->wait(listed.failure()));
    }
  }
  Result<std::optional<Bytes>> read_front(const std::string& name, const std::string& id, std::size_t length) override {
    return repeated(attempts(), [&] { return inner_.read_front(name, id, length); });
  }
  Status bring_back(const std::string& name, const std::string& id) override {
    return repeated(attempts(), [&] { return inner_.bring_back(name, id); });
  }
  Result<std::vector<Refused>> remove(std::span<const ObjectVersion> versions) override {
    return repeated(attempts(), [&] { return inner_.remove(versions); });
  }
  Result<bool> remove_bypassing(const ObjectVersion& version) override {
    return repeated(attempts(), [&] { return inner_.remove_bypassing(version); });
  }
  Result<std::optional<ObjectLock>> lock_of(const std::string& name, const std::string& id) override {
    return repeated(attempts(), [&] { return inner_.lock_of(name, id); });
  }
  Status lock(const std::string& name, const std::string& id, const ObjectLock& lock) override {
    return repeated(attempts(), [&] { return inner_.lock(name, id, lock); });
  }

 private:
  Attempts attempts() { return {policy_, clock_, random_, cancel_, trouble_}; }

  ObjectVersions& inner_;
  const RetryPolicy policy_;
  Clock& clock_;
  RandomSource& random_;
  const CancelToken* cancel_;
  StoreTrouble trouble_;
};

}  // namespace

std::unique_ptr<ObjectVersions> make_retry_versions(ObjectVersions& inner, RetryPolicy policy, Clock& clock, RandomSource& random, const CancelToken* cancel) {
  return std::make_unique<RetryVersions>(inner, policy, clock, random, cancel);
}

}  // namespace pgmint::storage
