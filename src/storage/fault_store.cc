#include "storage/fault_store.h"

#include <fmt/format.h>

namespace pgmint::storage {
namespace {

Error injected(const Fault& fault, Operation kind, const std::string& name) {
  return Error(fault.code, fmt::format("{} {}: injected failure", operation_name(kind), name));
}

}  // namespace

void FaultStore::add(Fault fault) {
  std::lock_guard lock(mutex_);
  rules_.push_back({std::move(fault)});
}

void FaultStore::clear() {
  std::lock_guard lock(mutex_);
  rules_.clear();
}

std::uint64_t FaultStore::operations() const {
  std::lock_guard lock(mutex_);
  return operations_;
}

std::optional<Fault> FaultStore::due(Operation operation, const std::string& name) {
  std::lock_guard lock(mutex_);
  ++operations_;
  for (auto& rule : rules_) {
    if (rule.fault.on && *rule.fault.on != operation) continue;
    if (rule.fault.matches && !rule.fault.matches(name)) continue;
    const auto index = rule.seen++;
    if (index >= rule.fault.skip && index - rule.fault.skip < rule.fault.times) return rule.fault;
  }
  return std::nullopt;
}

template <class F>
auto FaultStore::with_faults(Operation kind, const std::string& name, F operation) -> decltype(operation()) {
  auto fault = due(kind, name);
  if (!fault) return operation();
  if (fault->delay.count() > 0) clock_.sleep(fault->delay);
  if (fault->then) fault->then();
  if (fault->when == Fault::When::Before || fault->when == Fault::When::Torn) return injected(*fault, kind, name);
  auto result = operation();
  if (!result || fault->when == Fault::When::Delay) return result;
  return injected(*fault, kind, name);
}

Result<Created> FaultStore::create(const std::string& name, ByteView data) {
  auto fault = due(Operation::Create, name);
  if (!fault) return inner().create(name, data);
  if (fault->delay.count() > 0) clock_.sleep(fault->delay);
  if (fault->then) fault->then();
  if (fault->when == Fault::When::Before) return injected(*fault, Operation::Create, name);
  auto created = inner().create(name, fault->when == Fault::When::Torn ? data.first(data.size() / 2) : data);
  if (!created || fault->when == Fault::When::Delay) return created;
  return injected(*fault, Operation::Create, name);
}

Result<std::optional<Bytes>> FaultStore::read(const std::string& name, std::uint64_t limit) {
  return with_faults(Operation::Read, name, [&] { return inner().read(name, limit); });
}
Status FaultStore::read_range(const std::string& name, std::uint64_t offset, MutableByteView out) {
  return with_faults(Operation::ReadRange, name, [&] { return inner().read_range(name, offset, out); });
}
Result<std::optional<BlobInfo>> FaultStore::stat(const std::string& name) {
  return with_faults(Operation::Stat, name, [&] { return inner().stat(name); });
}
Status FaultStore::list(const std::string& prefix, const std::string& after,
                        const std::function<Status(const BlobInfo&)>& visit) {
  return with_faults(Operation::List, prefix, [&] { return inner().list(prefix, after, visit); });
}
Result<std::vector<std::string>> FaultStore::list_parts(const std::string& prefix) {
  return with_faults(Operation::ListParts, prefix, [&] { return inner().list_parts(prefix); });
}
Status FaultStore::remove(const std::string& name) {
  return with_faults(Operation::Remove, name, [&] { return inner().remove(name); });
}

}  // namespace pgmint::storage
