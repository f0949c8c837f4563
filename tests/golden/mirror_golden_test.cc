// Marks and notes of mirrors written by earlier versions must stay readable for ever: who has nothing but the mirror needs them.
//
// PGMINT_WRITE_GOLDEN=mirror golden_test writes tests/golden/mirror anew.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "repository/mirror_absence.h"

namespace pgmint::repository {
namespace {

const fs::path kFolder = "tests/golden/mirror";
constexpr std::uint64_t kNumber = 7;

template <class Id>
Id numbered(unsigned n) {
  Id id;
  id.bytes[0] = static_cast<std::byte>(n);
  id.bytes[15] = static_cast<std::byte>(n);
  return id;
}
const auto kRepository = numbered<RepositoryId>(1);
crypto::Key256 mac_key() { return *crypto::Key256::from_bytes(Bytes(32, std::byte{9})); }
TimePoint at(int second) { return TimePoint(std::chrono::seconds(1'780'000'000 + second)); }

MirrorMark mark(MirrorState state) {
  MirrorMark made;
  made.number = kNumber;
  made.mirror = numbered<MirrorId>(2);
  made.state = state;
  made.source = "/var/lib/pgmint";
  made.made_by = "postgres@db1";
  made.made = at(0);
  made.written = at(100);
  auto& one = made.clusters[numbered<ClusterId>(3)];
  one.as_of = at(90);
  one.logs[0] = {12, crypto::sha256(as_bytes("twelfth"))};
  one.logs[2] = {5, crypto::sha256(as_bytes("fifth"))};
  made.clusters[numbered<ClusterId>(4)].as_of = at(80);
  if (state == MirrorState::Promoted) {
    one.opened = 3;
    made.left_out.insert(numbered<ClusterId>(5));
  } else {
    made.one_writer = true;
  }
  return made;
}
AbsenceNote note() { return {at(50), {"c/0300/p/00/a", "c/0300/snap/b"}}; }

std::map<std::string, Bytes> written() {
  const auto key = mac_key();
  return {{"mark-mirror", encode_mark(mark(MirrorState::Mirror), kRepository, nullptr)},
          {"mark-promoted", encode_mark(mark(MirrorState::Promoted), kRepository, &key)},
          {"absence", encode_absence(note(), kRepository, numbered<ClusterId>(3))}};
}

TEST(MirrorGolden, WriteWhenAskedTo) {
  const char* asked = std::getenv("PGMINT_WRITE_GOLDEN");
  if (asked == nullptr || std::string_view(asked) != "mirror") GTEST_SKIP() << "set PGMINT_WRITE_GOLDEN=mirror to write the files anew";
  ASSERT_TRUE(create_directories(kFolder, 0755));
  for (const auto& [name, object] : written()) ASSERT_TRUE(write_file_durably(kFolder / name, object, 0644));
}

TEST(MirrorGolden, IsWrittenAndReadAsItWas) {
  for (const auto& [name, object] : written()) EXPECT_EQ(read_file(kFolder / name, 1 << 20).value(), object) << name;
  for (const auto state : {MirrorState::Mirror, MirrorState::Promoted}) {
    const auto object = read_file(kFolder / (state == MirrorState::Mirror ? "mark-mirror" : "mark-promoted"), 1 << 20).value();
    const auto read = parse_mark(object, kNumber, kRepository), expected = Result<MirrorMark>(mark(state));
    ASSERT_TRUE(read) << read.failure().describe();
    EXPECT_EQ(read->number, kNumber);
    EXPECT_EQ(read->mirror, expected->mirror);
    EXPECT_EQ(read->state, state);
    EXPECT_EQ(read->source, expected->source);
    EXPECT_EQ(read->made_by, expected->made_by);
    EXPECT_EQ(read->made, expected->made);
    EXPECT_EQ(read->written, expected->written);
    EXPECT_EQ(read->one_writer, expected->one_writer);
    EXPECT_EQ(read->left_out, expected->left_out);
    EXPECT_EQ(read->as_of(), at(80));
    ASSERT_EQ(read->clusters.size(), 2U);
    for (const auto& [id, cluster] : expected->clusters) {
      EXPECT_EQ(read->clusters.at(id).as_of, cluster.as_of);
      EXPECT_EQ(read->clusters.at(id).logs, cluster.logs);
      EXPECT_EQ(read->clusters.at(id).opened, cluster.opened);
    }
    if (state == MirrorState::Promoted) {
      EXPECT_TRUE(mark_is_authentic({*read, object}, mac_key()));
    }
  }
  const auto read = parse_absence(read_file(kFolder / "absence", 1 << 20).value(), kRepository, numbered<ClusterId>(3));
  ASSERT_TRUE(read) << read.failure().describe();
  EXPECT_EQ(read->since, note().since);
  EXPECT_EQ(read->objects, note().objects);
}

/// Of whatever bytes: an error, or what bears a seal that fits.
TEST(MirrorGolden, ChangedAndCutBytesAreDamage) {
  const auto objects = written();
  for (const auto& [name, object] : objects) {
    const bool is_mark = name.starts_with("mark");
    const auto accepted = [&](const Bytes& bytes) {
      if (!is_mark) return parse_absence(bytes, kRepository, numbered<ClusterId>(3)).has_value();
      auto read = parse_mark(bytes, kNumber, kRepository);
      return read && (read->state == MirrorState::Mirror || mark_is_authentic({*read, bytes}, mac_key()));
    };
    ASSERT_TRUE(accepted(object)) << name;
    for (std::size_t size = 0; size < object.size(); ++size) EXPECT_FALSE(accepted(Bytes(object.begin(), object.begin() + static_cast<std::ptrdiff_t>(size)))) << name << " cut to " << size;
    for (std::size_t at = 0; at < object.size(); ++at) {
      auto changed = object;
      changed[at] ^= std::byte{0x41};
      EXPECT_FALSE(accepted(changed)) << name << " at " << at;
    }
  }
}

}  // namespace
}  // namespace pgmint::repository
