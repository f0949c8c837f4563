// What stands in clear in front of everything else. First byte mod 4: a key slot as it is stored; the field list of a ring or of
// `format`, which get the MAC that makes them authentic; the prefix of a WAL object.
#include "crypto/hash.h"
#include "fuzz_input.h"
#include "repository/format_file.h"
#include "repository/keys.h"
#include "repository/object_header.h"
#include "repository/wal_object.h"

namespace {

using namespace pgmint;
using namespace pgmint::repository;

/// Corruption, or Precondition where a newer pgmint may have written it.
template <class T>
void expect_answer(const Result<T>& result) {
  PGMINT_ASSERT(result.has_value() || result.error().code() == Errc::Corruption || result.error().code() == Errc::Precondition);
}

Bytes authentic(ObjectKind kind, ByteView body, const crypto::Key256& key) {
  Bytes object = to_bytes(encode_header({kind, Epoch(1), {}, {}, {}}));
  append(object, body);
  append(object, crypto::hmac_sha256(key, object));
  return object;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto input = fuzz_input(data, size).subspan(1);
  static const crypto::Key256 key = crypto::Key256::from_bytes(Bytes(32, std::byte{7})).value();
  switch (data[0] % 4) {
    case 0: {
      if (input.size() < kHeaderSize) return 0;
      RepositoryId repository{};
      std::memcpy(repository.bytes.data(), input.data() + 16, repository.bytes.size());
      const auto slot = parse_slot(input, "file-00000000", repository);
      expect_answer(slot);
      Unlock unlock;
      unlock.key = key.clone();
      // Of a passphrase's cost, which is in clear, tests/ see to it that it is bounded.
      if (slot && slot->provider == KeyProvider::KeyFile) expect_answer(open_slot(input, *slot, unlock));
      break;
    }
    case 1: expect_answer(ring_roots(authentic(ObjectKind::KeyRing, input, key), {}, {}, Epoch(1), key)); break;
    case 2: expect_answer(parse_format(authentic(ObjectKind::Format, input, key), key)); break;
    default: {
      const auto index = parse_wal_index(input, std::uint64_t{1} << 20);
      if (parsed_or_corrupt(index)) PGMINT_ASSERT(std::ranges::equal(encode_wal_index(*index), input));
    }
  }
  return 0;
}
