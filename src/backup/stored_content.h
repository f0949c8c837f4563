// Where a file's bytes stand, as it is kept for every file of a cluster while a backup runs: small, since there are millions.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <unordered_map>

#include "repository/manifest.h"

namespace pgmint::backup {

/// Nothing, a place in a bundle, or a map. A value of 40 bytes, where that of a FileEntry takes 96: the location of a bundle is
/// shared by the files in it.
class StoredContent {
 public:
  using Record = std::shared_ptr<const repository::RecordLocation>;

  StoredContent() = default;
  StoredContent(Record bundle, std::uint32_t offset, const ByteArray<16>& fingerprint)
      : record_(std::move(bundle)), offset_(offset), fingerprint_(fingerprint), kind_(Kind::Member) {}
  explicit StoredContent(const repository::BundleMember& member)
      : StoredContent(std::make_shared<const repository::RecordLocation>(member.bundle), member.offset, member.fingerprint) {}
  explicit StoredContent(const repository::RecordLocation& map)
      : record_(std::make_shared<const repository::RecordLocation>(map)), kind_(Kind::Map) {}

  std::optional<repository::BundleMember> member() const {
    if (kind_ != Kind::Member) return std::nullopt;
    return repository::BundleMember{*record_, offset_, fingerprint_};
  }
  /// nullptr: it has no bundle, or no map.
  const repository::RecordLocation* bundle() const { return kind_ == Kind::Member ? record_.get() : nullptr; }
  const repository::RecordLocation* map() const { return kind_ == Kind::Map ? record_.get() : nullptr; }
  /// Of a file in a bundle: the same, in another place. @param bundle  as large
  void move_bundle(Record bundle) { record_ = std::move(bundle); }

 private:
  enum class Kind : std::uint8_t { Nothing, Member, Map };
  Record record_;
  std::uint32_t offset_ = 0;
  ByteArray<16> fingerprint_{};
  Kind kind_ = Kind::Nothing;
};

/// Hands out one Record for one bundle, however many files ask. Not thread-safe.
class SharedRecords {
 public:
  StoredContent::Record share(const repository::RecordLocation& record) {
    // Neighbours stand in one bundle, most often.
    if (last_ != nullptr && *last_ == record) return last_;
    auto& known = records_[{record.pack, record.offset}];
    if (known == nullptr || *known != record) known = std::make_shared<const repository::RecordLocation>(record);
    return last_ = known;
  }

 private:
  using Place = std::pair<repository::PackId, std::uint64_t>;
  struct Hash {
    std::size_t operator()(const Place& place) const {
      // A session is random; its packs differ by their numbers only, and records of one by their offsets.
      std::uint64_t random = 0;
      std::memcpy(&random, place.first.session.bytes.data(), sizeof random);
      return random + (place.first.number + (place.second << 24)) * 0x9e3779b97f4a7c15U;
    }
  };
  StoredContent::Record last_;
  std::unordered_map<Place, StoredContent::Record, Hash> records_;
};

}  // namespace pgmint::backup
