#include "postgres/wal_record.h"

#include <fmt/format.h>

#include <cstring>

#include "postgres/load.h"

namespace pgmint::postgres {
namespace {

// xlp_info (xlog_internal.h)
constexpr std::uint16_t kFirstIsContrecord = 0x0001;
constexpr std::uint16_t kLongHeader = 0x0002;
constexpr std::uint16_t kBkpRemovable = 0x0004;
constexpr std::uint16_t kFirstIsOverwrite = 0x0008;
constexpr std::uint16_t kAllFlags = kFirstIsContrecord | kLongHeader | kBkpRemovable | kFirstIsOverwrite;

// xlogrecord.h
constexpr std::uint8_t kMaxBlockId = 32;
constexpr std::uint8_t kIdTopLevelXid = 252;
constexpr std::uint8_t kIdOrigin = 253;
constexpr std::uint8_t kIdDataLong = 254;
constexpr std::uint8_t kIdDataShort = 255;
constexpr std::uint8_t kForkMask = 0x0F;
constexpr std::uint8_t kHasImage = 0x10;
constexpr std::uint8_t kHasData = 0x20;
constexpr std::uint8_t kSameRelation = 0x80;
constexpr std::uint8_t kForkMax = 3;

/// Takes fields off the headers. Never reads past the end: from there on fields are zero, and ran_out() tells.
class HeaderReader {
 public:
  explicit HeaderReader(ByteView bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  template <class T>
  T take() {
    if (left() < sizeof(T)) {
      ran_out_ = true;
      at_ = end_;
      return 0;
    }
    T value;
    std::memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  bool ran_out() const { return ran_out_; }

 private:
  const std::byte* at_;
  const std::byte* end_;
  bool ran_out_ = false;
};

/// One block header and what follows it. `payload` grows by the bytes of image and data that the record holds for it.
/// @return what is wrong, or nullptr; the caller asks the reader whether it ran out
const char* take_block(HeaderReader& reader, const VersionEntry& version, std::uint32_t page_size_max,
                       std::optional<RelationLocator>& locator, RecordLayout& layout, std::uint64_t& payload) {
  const auto fork_flags = reader.take<std::uint8_t>();
  const auto data_length = reader.take<std::uint16_t>();
  if (((fork_flags & kHasData) != 0) != (data_length != 0)) return "a block's data flag contradicts its length";
  if ((fork_flags & kForkMask) > kForkMax) return "no such fork";
  payload += data_length;
  BlockReference reference;
  reference.has_image = (fork_flags & kHasImage) != 0;
  if (reference.has_image) {
    const auto image_length = reader.take<std::uint16_t>();
    reader.take<std::uint16_t>();  // where the hole begins
    const auto image_info = reader.take<std::uint8_t>();
    if ((image_info & ~version.wal.image_known) != 0) return "unknown flags of a page image";
    if (image_length > page_size_max) return "a page image larger than a page";
    if ((image_info & version.wal.image_has_hole) != 0 && (image_info & version.wal.image_compressed) != 0)
      reader.take<std::uint16_t>();  // length of the hole
    payload += image_length;
  }
  if ((fork_flags & kSameRelation) == 0) {
    RelationLocator named;
    named.tablespace = Oid(reader.take<std::uint32_t>());
    named.database = Oid(reader.take<std::uint32_t>());
    named.relation = Oid(reader.take<std::uint32_t>());
    locator = named;
  }
  if (!locator) return "a block of the same relation as none before";
  reference.where = {*locator, static_cast<Fork>(fork_flags & kForkMask)};
  reference.block = reader.take<std::uint32_t>();
  layout.blocks.push_back(reference);
  return nullptr;
}

}  // namespace

Result<WalPageHeader> parse_wal_page_header(ByteView page) {
  auto bad = [](std::string_view why) { return Error(Errc::Corruption, fmt::format("WAL page: {}", why)); };
  if (page.size() < kWalShortHeaderSize) return bad("truncated");
  auto info = load<std::uint16_t>(page, 2);
  WalPageHeader header{.magic = load<std::uint16_t>(page, 0),
                       .first_is_continuation = (info & kFirstIsContrecord) != 0,
                       .long_header = (info & kLongHeader) != 0,
                       .overwrites_continuation = (info & kFirstIsOverwrite) != 0,
                       .timeline = TimelineId(load<std::uint32_t>(page, 4)),
                       .address = Lsn(load<std::uint64_t>(page, 8)),
                       .remaining = load<std::uint32_t>(page, 16)};
  if (find_version_by_wal_magic(header.magic) == nullptr)
    return bad(fmt::format("magic {:04X} is unknown", header.magic));
  if ((info & ~kAllFlags) != 0) return bad(fmt::format("unknown flags {:04X}", info));
  return header;
}

Result<WalSegmentHeader> wal_segment_header(ByteView bytes) {
  auto bad = [](std::string_view why) {
    return Error(Errc::Corruption, fmt::format("not the start of a WAL segment: {}", why));
  };
  if (bytes.size() < kWalLongHeaderSize) return bad("truncated");
  WalSegmentHeader header;
  auto magic = load<std::uint16_t>(bytes, 0);
  header.version = find_version_by_wal_magic(magic);
  if (header.version == nullptr) {
    if (magic >> 8 == 0xD0 || magic >> 8 == 0xD1)
      return Error(Errc::Precondition,
                   fmt::format("WAL of a PostgreSQL that pgmint does not know (page magic {:04X})", magic));
    return bad(fmt::format("page magic {:04X}", magic));
  }
  auto page = TRY(parse_wal_page_header(bytes));
  if (!page.long_header) return bad("no long page header");
  header.timeline = page.timeline;
  header.address = page.address;
  header.system_identifier = SystemIdentifier(load<std::uint64_t>(bytes, 24));
  auto size = WalSegmentSize::of(load<std::uint32_t>(bytes, 32));
  if (!size) return bad(size.failure().message());
  header.segment_size = *size;
  header.block_size = load<std::uint32_t>(bytes, 36);
  if (header.block_size < 1024 || header.block_size > 65536 || (header.block_size & (header.block_size - 1)) != 0)
    return bad(fmt::format("WAL block size {}", header.block_size));
  if (header.address.value() % size->bytes() != 0) return bad("an address that is no segment's start");
  if (header.timeline.value() == 0) return bad("timeline 0");
  return header;
}

Status check_segment_identity(const WalSegmentHeader& header, const WalFileName& name, WalSegmentSize size,
                              std::optional<SystemIdentifier> expected) {
  auto file = format(name, size);
  if (expected && header.system_identifier != *expected)
    return Error(Errc::Precondition,
                 fmt::format("{} belongs to the cluster with system identifier {}, not to {}", file,
                             header.system_identifier.value(), expected->value()),
                 Hint{"archive_command names the wrong cluster, or the cluster was made anew: pgmint cluster adopt"});
  if (header.segment_size != size)
    return Error(Errc::Corruption, fmt::format("{} says its segments have {} bytes, the cluster's have {}", file,
                                               header.segment_size.bytes(), size.bytes()));
  if (header.address != start_of(name.segment, size))
    return Error(Errc::Corruption, fmt::format("{} holds WAL of {}, not of {}", file, format(header.address),
                                               format(start_of(name.segment, size))));
  if (header.timeline > name.timeline)
    return Error(Errc::Corruption, fmt::format("{} holds WAL of timeline {}", file, header.timeline.value()));
  return ok();
}

const char* read_record_layout(ByteView head, std::uint32_t total_length, const VersionEntry& version,
                               std::uint32_t page_size_max, RecordLayout& layout) {
  layout.blocks.clear();
  layout.main_data_offset = 0;
  layout.main_data_length = 0;
  layout.top_level_xid.reset();
  if (total_length < kRecordHeaderSize || total_length > kRecordLengthMax) return "impossible length";
  if (head.size() < kRecordHeaderSize) return "truncated";
  head = head.first(std::min<std::size_t>(head.size(), total_length));
  HeaderReader reader(head.subspan(kRecordHeaderSize));
  std::uint64_t payload = 0;
  int last_block = -1;
  std::optional<RelationLocator> locator;
  // As DecodeXLogRecord: headers go on until the data that they promise fills the rest of the record.
  const auto header_bytes = [&] { return head.size() - reader.left(); };
  while (header_bytes() + payload < total_length) {
    const auto id = reader.take<std::uint8_t>();
    bool last = false;
    if (reader.ran_out()) {
      // told below
    } else if (id == kIdDataShort || id == kIdDataLong) {
      layout.main_data_length = id == kIdDataShort ? reader.take<std::uint8_t>() : reader.take<std::uint32_t>();
      payload += layout.main_data_length;
      last = true;  // always the last header
    } else if (id == kIdOrigin) {
      reader.take<std::uint16_t>();
    } else if (id == kIdTopLevelXid && version.wal.has_toplevel_xid) {
      layout.top_level_xid = TransactionId(reader.take<std::uint32_t>());
    } else if (id <= kMaxBlockId) {
      if (static_cast<int>(id) <= last_block) return "blocks out of order";
      last_block = id;
      if (const char* problem = take_block(reader, version, page_size_max, locator, layout, payload)) return problem;
    } else {
      return "an unknown header";
    }
    if (reader.ran_out()) return "headers run past what was kept of it";
    if (last) break;
  }
  if (header_bytes() + payload != total_length) return "its headers do not add up to its length";
  layout.main_data_offset = total_length - layout.main_data_length;
  return nullptr;
}

Result<RecordLayout> parse_record_layout(ByteView head, std::uint32_t total_length, const VersionEntry& version,
                                         std::uint32_t page_size_max) {
  RecordLayout layout;
  if (const char* problem = read_record_layout(head, total_length, version, page_size_max, layout))
    return Error(Errc::Corruption, fmt::format("WAL record: {}", problem));
  return layout;
}

}  // namespace pgmint::postgres
