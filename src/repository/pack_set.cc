#include "repository/pack_set.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace pgmint::repository {
namespace {

constexpr std::uint32_t kWordBits = 64;
std::uint64_t bit_of(std::uint32_t number) { return std::uint64_t{1} << number % kWordBits; }

}  // namespace

SharedBits::Part& SharedBits::own(std::size_t part) {
  if (part >= parts_.size()) {
    // No further: there is a set for each of thousands of backups, and the next one is a copy.
    parts_.reserve(part + 1);
    parts_.resize(part + 1);
  }
  auto& shared = parts_[part];
  if (!shared) shared = std::make_shared<Part>();
  else if (shared.use_count() > 1) shared = std::make_shared<Part>(*shared);
  return *shared;
}

bool SharedBits::contains(std::uint32_t number) const {
  const auto part = number / kPartBits;
  return part < parts_.size() && parts_[part] && ((*parts_[part])[number % kPartBits / kWordBits] & bit_of(number)) != 0;
}

void SharedBits::insert(std::uint32_t number) {
  if (!contains(number)) own(number / kPartBits)[number % kPartBits / kWordBits] |= bit_of(number);
}

void SharedBits::erase(std::uint32_t number) {
  if (contains(number)) own(number / kPartBits)[number % kPartBits / kWordBits] &= ~bit_of(number);
}

void SharedBits::insert_all(const SharedBits& other) {
  if (parts_.size() < other.parts_.size()) parts_.resize(other.parts_.size());
  for (std::size_t i = 0; i < other.parts_.size(); ++i) {
    const auto& theirs = other.parts_[i];
    if (!theirs || theirs == parts_[i]) continue;
    if (!parts_[i]) {
      parts_[i] = theirs;
      continue;
    }
    auto& ours = own(i);
    for (std::size_t word = 0; word < ours.size(); ++word) ours[word] |= (*theirs)[word];
  }
}

std::size_t SharedBits::size() const {
  std::size_t count = 0;
  for (const auto& part : parts_)
    if (part)
      for (const auto word : *part) count += static_cast<std::size_t>(std::popcount(word));
  return count;
}

std::uint32_t SharedBits::next(std::uint32_t number) const {
  while (number < end()) {
    const auto& part = parts_[number / kPartBits];
    if (!part) {
      number = static_cast<std::uint32_t>((number / kPartBits + 1) * kPartBits);
      continue;
    }
    const auto rest = (*part)[number % kPartBits / kWordBits] >> number % kWordBits;
    if (rest != 0) return number + static_cast<std::uint32_t>(std::countr_zero(rest));
    number = (number / kWordBits + 1) * kWordBits;
  }
  return end();
}

std::size_t PackTable::Hash::operator()(const PackId& id) const {
  // A session is random; its packs differ by their numbers only.
  std::uint64_t random = 0;
  std::memcpy(&random, id.session.bytes.data(), sizeof random);
  return random + id.number * 0x9e3779b97f4a7c15U;
}

std::uint32_t PackTable::number_of(const PackSummary& pack) {
  const auto [at, added] = numbers_.try_emplace(pack.id, static_cast<std::uint32_t>(packs_.size()));
  if (added) packs_.push_back(pack);
  return at->second;
}

std::optional<std::uint32_t> PackTable::find(const PackId& id) const {
  const auto found = numbers_.find(id);
  if (found == numbers_.end()) return std::nullopt;
  return found->second;
}

const PackSummary* PackTable::find_in(const SharedBits& numbers, const PackId& id) const {
  const auto number = find(id);
  return number && numbers.contains(*number) ? &packs_[*number] : nullptr;
}

}  // namespace pgmint::repository
