#include "storage/retry_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/attempts.h"
#include "storage/forwarding_store.h"

namespace pgmint::storage {
namespace {

class RetryStore final : public ForwardingStore {
 public:
  RetryStore(std::unique_ptr<BlobStore> inner, RetryPolicy policy, Clock& clock, RandomSource& random,
             const CancelToken* cancel)
      : ForwardingStore(std::move(inner)), policy_(policy), clock_(clock), random_(random), cancel_(cancel) {}

  Result<Created> create(const std::string& name, ByteView data) override;
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    return repeat([&] { return inner().read(name, limit); });
  }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    return repeat([&] { return inner().read_range(name, offset, out); });
  }
  Result<std::optional<BlobInfo>> stat(const std::string& name) override {
    return repeat([&] { return inner().stat(name); });
  }
  Result<std::optional<BlobFront>> read_front(const std::string& name, std::size_t length) override {
    return repeat([&] { return inner().read_front(name, length); });
  }
  Status list(const std::string& prefix, const std::string& after,
              const std::function<Status(const BlobInfo&)>& visit) override;
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override {
    return repeat([&] { return inner().list_parts(prefix); });
  }
  Status remove(const std::string& name) override {
    return repeat([&] { return inner().remove(name); });
  }
  /// All of them once; after a transient failure each half by itself, down to single ones, which are repeated.
  Status remove_all(std::span<const std::string> names) override {
    if (names.empty()) return ok();
    if (names.size() == 1) return remove(names.front());
    auto removed = inner().remove_all(names);
    if (removed || !is_transient(removed.failure().code())) return removed;
    TRY(attempts().wait(removed.failure()));
    const auto half = names.size() / 2;
    TRY(remove_all(names.first(half)));
    return remove_all(names.subspan(half));
  }
  Result<std::vector<std::string>> remove_unlocked(std::span<const std::string> names) override {
    if (names.size() < 2) return repeat([&] { return inner().remove_unlocked(names); });
    auto removed = inner().remove_unlocked(names);
    if (removed || !is_transient(removed.failure().code())) return removed;
    TRY(attempts().wait(removed.failure()));
    const auto half = names.size() / 2;
    auto locked = TRY(remove_unlocked(names.first(half)));
    for (auto& name : TRY(remove_unlocked(names.subspan(half)))) locked.push_back(std::move(name));
    return locked;
  }

 private:
  enum class Outcome { Ours, Theirs, Absent };
  /// What stands under the name, seen from the creator of `data`.
  Result<Outcome> read_back(const std::string& name, ByteView data);

  /// After "exists", with an uncertain attempt before it: whose is it? Not there at all, it is asked for again.
  Result<Created> settle(const std::string& name, ByteView data, Attempts& tries);

  Attempts attempts() { return {policy_, clock_, random_, cancel_, trouble_}; }

  template <class F>
  auto repeat(F operation) -> decltype(operation()) {
    return repeated(attempts(), std::move(operation));
  }

  const RetryPolicy policy_;
  Clock& clock_;
  RandomSource& random_;
  const CancelToken* const cancel_;
  StoreTrouble trouble_;
};

Result<RetryStore::Outcome> RetryStore::read_back(const std::string& name, ByteView data) {
  auto found = read(name, data.size());
  if (!found) {
    if (found.failure().code() == Errc::ResourceLimit) return Outcome::Theirs;  // longer than ours
    return std::move(found).failure();
  }
  if (!*found) return Outcome::Absent;
  return std::ranges::equal(**found, data) ? Outcome::Ours : Outcome::Theirs;
}

Result<Created> RetryStore::settle(const std::string& name, ByteView data, Attempts& tries) {
  for (;;) {
    auto outcome = read_back(name, data);
    if (!outcome) return std::move(outcome).failure().with_code(Errc::Unknown).with_context(fmt::format("create {}", name));
    if (*outcome != Outcome::Absent) return *outcome == Outcome::Ours ? Created::Yes : Created::AlreadyExists;
    Error contradiction(Errc::Unknown, fmt::format("create {}: the store says both that it exists and that it does not", name));
    if (!tries.left_after(contradiction)) return contradiction;
    TRY(tries.wait(contradiction));
  }
}

Result<Created> RetryStore::create(const std::string& name, ByteView data) {
  auto tries = attempts();
  bool uncertain = false;  // some attempt may have happened, or may yet
  bool unknown = false;    // one of them said so
  for (;;) {
    auto created = inner().create(name, data);
    if (created) {
      tries.answered();
      if (*created == Created::Yes || !uncertain) return created;
      return settle(name, data, tries);
    }
    if (!is_transient(created.failure().code())) return created;
    unknown |= created.failure().code() == Errc::Unknown;
    uncertain |= created.failure().code() != Errc::Busy;  // Busy: refused, certainly not done
    auto final_error = [&](Error error) {
      return unknown ? std::move(error).with_code(Errc::Unknown) : std::move(error);
    };
    if (uncertain) {
      auto outcome = read_back(name, data);
      if (!outcome) return final_error(std::move(created).failure());
      if (*outcome != Outcome::Absent) {
        tries.answered();
        return *outcome == Outcome::Ours ? Created::Yes : Created::AlreadyExists;
      }
    }
    if (!tries.left_after(created.failure())) return final_error(std::move(created).failure());
    TRY(tries.wait(created.failure()));
  }
}

Status RetryStore::list(const std::string& prefix, const std::string& after,
                        const std::function<Status(const BlobInfo&)>& visit) {
  std::string last = after;
  bool visitor_failed = false;
  auto tries = attempts();
  for (;;) {
    auto listed = inner().list(prefix, last, [&](const BlobInfo& info) {
      last = info.name;
      auto visited = visit(info);
      visitor_failed = !visited;
      return visited;
    });
    if (listed || visitor_failed || !tries.left_after(listed.failure())) return listed;
    TRY(tries.wait(listed.failure()));
  }
}

}  // namespace

std::unique_ptr<BlobStore> make_retry_store(std::unique_ptr<BlobStore> inner, RetryPolicy policy, Clock& clock,
                                            RandomSource& random, const CancelToken* cancel) {
  return std::make_unique<RetryStore>(std::move(inner), policy, clock, random, cancel);
}

}  // namespace pgmint::storage
