#include "backup/last_record.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "codec/crc32c.h"
#include "storage/temporary_directory.h"

namespace pgmint::backup {
namespace {

using postgres::Lsn;

constexpr std::uint32_t kSegment = 1U << 20;
constexpr std::uint32_t kPage = 8192;
const auto kSize = *postgres::WalSegmentSize::of(kSegment);

template <class T>
void put(Bytes& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

/// WAL of PostgreSQL 15 on timeline 1 from segment 5 on, written record by record.
class WrittenWal {
 public:
  /// A record of `data` bytes of main data; where it starts.
  Lsn add(std::size_t data, std::uint8_t rmgr = 10, std::uint8_t info = 0) {
    Bytes record(24);
    if (data > 0 && data < 256) {
      record.push_back(std::byte{255});
      record.push_back(static_cast<std::byte>(data));
    } else if (data > 0) {
      record.push_back(std::byte{254});
      record.resize(record.size() + 4);
      put(record, 25, static_cast<std::uint32_t>(data));
    }
    record.resize(record.size() + data);
    put(record, 0, static_cast<std::uint32_t>(record.size()));
    put(record, 8, previous_.value());
    put(record, 16, info);
    put(record, 17, rmgr);
    put(record, 20, codec::crc32c(ByteView(record).first(20), codec::crc32c(ByteView(record).subspan(24))));
    pad_to(8);
    open_page(0);
    const Lsn start(kStart + wal_.size());
    for (std::size_t done = 0; done < record.size();) {
      open_page(static_cast<std::uint32_t>(record.size() - done));
      const auto part = std::min<std::size_t>(record.size() - done, kPage - wal_.size() % kPage);
      append(wal_, ByteView(record).subspan(done, part));
      done += part;
    }
    previous_ = start;
    return start;
  }
  /// Where the next record may start, as PostgreSQL counts: the last one's end.
  Lsn end() const { return Lsn(kStart + (wal_.size() + 7) / 8 * 8); }
  Lsn end_of_segment() const { return Lsn(kStart + (wal_.size() + kSegment - 1) / kSegment * kSegment); }
  void write_into(const fs::path& data_directory) const {
    fs::create_directories(data_directory / "pg_wal");
    Bytes whole = wal_;
    whole.resize((whole.size() + kSegment - 1) / kSegment * kSegment);
    for (std::size_t at = 0; at < whole.size(); at += kSegment) {
      std::ofstream out(data_directory / "pg_wal" / name(5 + at / kSegment), std::ios::binary);
      out.write(reinterpret_cast<const char*>(whole.data()) + at, kSegment);
    }
  }
  static std::string name(std::uint64_t segment) {
    return postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(segment), kSize);
  }

  static constexpr std::uint64_t kStart = 5 * std::uint64_t{kSegment};

 private:
  void pad_to(std::size_t alignment) { wal_.resize((wal_.size() + alignment - 1) / alignment * alignment); }
  /// At a page's start its header, with what remains of the record that goes on there.
  void open_page(std::uint32_t remaining) {
    if (wal_.size() % kPage != 0) return;
    const auto at = wal_.size();
    const bool is_first = at % kSegment == 0;
    wal_.resize(at + (is_first ? 40 : 24));
    put(wal_, at, std::uint16_t{0xD110});
    put(wal_, at + 2, static_cast<std::uint16_t>((is_first ? 2 : 0) | (remaining > 0 && started_ ? 1 : 0)));
    put(wal_, at + 4, std::uint32_t{1});
    put(wal_, at + 8, kStart + at);
    put(wal_, at + 16, started_ ? remaining : 0);
    if (is_first) {
      put(wal_, at + 24, std::uint64_t{77});
      put(wal_, at + 32, kSegment);
      put(wal_, at + 36, kPage);
    }
    started_ = true;
  }

  Bytes wal_;
  Lsn previous_{};
  bool started_ = false;
};

struct LastRecord : ::testing::Test {
  storage::TemporaryDirectory directory;
  WrittenWal wal;
  Lsn start = wal.add(40);

  std::optional<Lsn> found(Lsn stop) {
    wal.write_into(directory.path());
    auto answer = last_needed_record(segments_of(directory.path()), postgres::TimelineId(1), start, stop, kSize);
    EXPECT_TRUE(answer) << answer.failure().describe();
    return answer ? *answer : std::nullopt;
  }
};

TEST_F(LastRecord, IsTheOneThatEndsAtTheStopThoughMoreFollow) {
  wal.add(100);
  const auto last = wal.add(77);
  const auto stop = wal.end();
  wal.add(30);
  EXPECT_EQ(found(stop), last);
}

TEST_F(LastRecord, MayLieOverSeveralSegments) {
  const auto last = wal.add(3 * kSegment);
  EXPECT_EQ(found(wal.end()), last);
}

TEST_F(LastRecord, MayFillItsSegmentToTheEnd) {
  wal.add(kSegment - kPage * 2);
  while (wal.end().value() % kSegment < kSegment - 200) wal.add(20);
  const auto left = kSegment - wal.end().value() % kSegment;
  const auto last = wal.add(left - 26);
  ASSERT_EQ(wal.end(), wal.end_of_segment());
  EXPECT_EQ(found(wal.end()), last);
}

TEST_F(LastRecord, OfASwitchEndsWithTheSegment) {
  wal.add(100);
  const auto last = wal.add(0, 0, 0x40);
  EXPECT_EQ(found(wal.end_of_segment()), last);
}

TEST_F(LastRecord, IsNoneWhenTheCheckpointIsAllThereIs) {
  EXPECT_EQ(found(wal.end()), std::nullopt);
}

TEST_F(LastRecord, IsNoneWhenItsFileIsGoneOrEndsBefore) {
  const auto stop = wal.end();
  wal.add(10);
  EXPECT_EQ(found(wal.end() + kSegment), std::nullopt) << "the next segment is not there";
  EXPECT_EQ(found(wal.end() + 512), std::nullopt) << "nothing ends there yet";
  EXPECT_EQ(found(stop), std::nullopt);
}

}  // namespace
}  // namespace pgmint::backup
