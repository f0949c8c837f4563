#include "repository/lock_memory.h"

#include <cstring>

#include "base/file.h"
#include "codec/binary.h"
#include "crypto/hash.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kMagic = "PGMINT-LOCKS-1\n";
constexpr std::uint64_t kFileMax = std::uint64_t{1} << 30;
constexpr std::size_t kEntrySize = 16 + 8 + 1;

using storage::LockMode;
using storage::ObjectLock;

std::int64_t seconds_of(TimePoint time) { return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count(); }

}  // namespace

std::size_t LockMemory::Hash::operator()(const Key& key) const {
  std::size_t value = 0;
  std::memcpy(&value, key.data(), sizeof value);
  return value;
}

LockMemory::Key LockMemory::key_of(const storage::ObjectVersion& version) {
  const auto digest = crypto::sha256(as_bytes(version.name + '\n' + version.id));
  Key key;
  std::copy_n(digest.begin(), key.size(), key.begin());
  return key;
}

std::optional<ObjectLock> LockMemory::find(const storage::ObjectVersion& version) const {
  const auto key = key_of(version);
  if (const auto noted = noted_.find(key); noted != noted_.end()) return noted->second;
  if (const auto known = known_.find(key); known != known_.end()) return known->second;
  return std::nullopt;
}

void LockMemory::note(const storage::ObjectVersion& version, const ObjectLock& lock) { noted_.insert_or_assign(key_of(version), lock); }

LockMemory LockMemory::load(const std::filesystem::path& file) {
  LockMemory memory;
  const auto bytes = read_file(file, kFileMax);
  if (!bytes || bytes->size() < kMagic.size() + sizeof(crypto::Digest)) return memory;
  const auto content = ByteView(*bytes).first(bytes->size() - sizeof(crypto::Digest));
  const auto digest = crypto::sha256(content);
  if (std::memcmp(digest.data(), bytes->data() + content.size(), digest.size()) != 0) return memory;
  codec::BinaryReader reader(content, "locks");
  const auto magic = reader.raw(kMagic.size());
  if (!magic || std::memcmp(magic->data(), kMagic.data(), kMagic.size()) != 0 || reader.remaining() % kEntrySize != 0) return memory;
  memory.known_.reserve(reader.remaining() / kEntrySize);
  while (!reader.at_end()) {
    const auto key = reader.array<16>();
    const auto until = reader.u64();
    const auto mode = reader.u8();
    if (!key || !until || !mode) return {};
    memory.known_.emplace(*key, ObjectLock{*mode == 1 ? LockMode::Compliance : LockMode::Governance, TimePoint(std::chrono::seconds(static_cast<std::int64_t>(*until)))});
  }
  return memory;
}

Status LockMemory::save(const std::filesystem::path& file, bool all) const {
  codec::BinaryWriter writer;
  writer.raw(as_bytes(kMagic));
  const auto add = [&](const Key& key, const ObjectLock& lock) {
    writer.raw(key);
    writer.u64(static_cast<std::uint64_t>(seconds_of(lock.until)));
    writer.u8(lock.mode == LockMode::Compliance ? 1 : 0);
  };
  for (const auto& [key, lock] : noted_) add(key, lock);
  if (all)
    for (const auto& [key, lock] : known_)
      if (!noted_.contains(key)) add(key, lock);
  const auto digest = crypto::sha256(writer.view());
  writer.raw(digest);
  TRY(create_directories(file.parent_path(), 0700));
  return write_file_durably(file, writer.view(), 0600);
}

}  // namespace pgmint::repository
