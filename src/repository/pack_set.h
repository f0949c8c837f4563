// The packs of a log's snapshots: each known once, and sets of them that share what they have in common. A log of thousands of
// backups of hundreds of thousands of packs is folded in the memory of one such backup and what changed since.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "repository/pack.h"

namespace pgmint::repository {

/// A set of small numbers. A copy shares with its origin, 1,024 numbers at a time, what neither has changed since.
/// A value, not thread-safe.
class SharedBits {
 public:
  bool contains(std::uint32_t number) const;
  void insert(std::uint32_t number);
  void erase(std::uint32_t number);
  void insert_all(const SharedBits& other);
  std::size_t size() const;
  /// The lowest number in the set from `number` on, or the end.
  std::uint32_t next(std::uint32_t number) const;
  /// Above every number in it.
  std::uint32_t end() const { return static_cast<std::uint32_t>(parts_.size() * kPartBits); }

 private:
  static constexpr std::size_t kPartBits = 1024;
  using Part = std::array<std::uint64_t, kPartBits / 64>;
  Part& own(std::size_t part);

  std::vector<std::shared_ptr<Part>> parts_;  ///< null: none of its numbers; written only by who alone has it
};

/// Numbers packs in the order in which they appear. A value.
class PackTable {
 public:
  /// What is known of a pack already stays.
  std::uint32_t number_of(const PackSummary& pack);
  std::optional<std::uint32_t> find(const PackId& id) const;
  /// nullptr: it is not one of `numbers`.
  const PackSummary* find_in(const SharedBits& numbers, const PackId& id) const;
  const PackSummary& at(std::uint32_t number) const { return packs_[number]; }
  const std::vector<PackSummary>& all() const { return packs_; }

 private:
  struct Hash {
    std::size_t operator()(const PackId& id) const;
  };
  std::vector<PackSummary> packs_;
  std::unordered_map<PackId, std::uint32_t, Hash> numbers_;
};

/// Some packs of a table, in the table's order. Borrows the table.
class PackSet {
 public:
  PackSet(const PackTable& table, SharedBits numbers) : table_(&table), numbers_(std::move(numbers)) {}

  bool contains(const PackId& id) const { return table_->find_in(numbers_, id) != nullptr; }
  std::size_t size() const { return numbers_.size(); }

  class Iterator {
   public:
    using value_type = PackSummary;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    Iterator(const PackSet& set, std::uint32_t number) : set_(&set), number_(number) {}
    const PackSummary& operator*() const { return set_->table_->at(number_); }
    Iterator& operator++() {
      number_ = set_->numbers_.next(number_ + 1);
      return *this;
    }
    Iterator operator++(int) {
      auto before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const { return number_ == other.number_; }

   private:
    const PackSet* set_ = nullptr;
    std::uint32_t number_ = 0;
  };
  Iterator begin() const { return {*this, numbers_.next(0)}; }
  Iterator end() const { return {*this, numbers_.end()}; }

 private:
  const PackTable* table_;
  SharedBits numbers_;
};

}  // namespace pgmint::repository
