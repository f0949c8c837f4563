#include "logical/archive_scanner.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "codec/binary.h"

namespace pgmint::logical {
namespace {

constexpr std::size_t kContentsMax = std::size_t{1} << 30;
constexpr std::size_t kFirstTry = 64 << 10;
constexpr std::size_t kTextMax = std::size_t{256} << 20;
constexpr std::size_t kEntryMin = 60;  ///< bytes, with four to an integer
constexpr unsigned kFormatCustom = 1;
constexpr unsigned kBlockData = 1, kBlockLargeObjects = 3;
constexpr unsigned kVersionFirst = 14, kVersionCompressionByte = 15, kVersionRelkind = 16;
/// Before the statement of data that another table takes in: which partition a row goes to is found out anew.
constexpr std::string_view kThroughRoot = "-- load via partition root";
/// What pg_dump writes behind a table's rows.
constexpr std::string_view kCopyEnd = "\\.\n\n\n";

using DataKind = ArchiveScanner::DataKind;

Error damage(std::string what) { return Error(Errc::Corruption, "dump: " + what); }

/// The table of contents, from memory that may end too early.
class ContentsReader {
 public:
  explicit ContentsReader(ByteView data) : data_(data) {}

  std::size_t position() const { return at_; }
  bool incomplete() const { return incomplete_; }
  std::uint8_t integer_size() const { return integer_size_; }

  Result<DumpContents> read(std::vector<DataKind>& kinds) {
    DumpContents contents;
    if (as_text(TRY(raw(5))) != "PGDMP") return damage("it is not a pg_dump archive in the custom format");
    const unsigned major = TRY(byte()), minor = TRY(byte()), revision = TRY(byte());
    if (major != 1 || minor < kVersionFirst)
      return damage(fmt::format("archive version {}.{}.{} is not known: 1.{} is the first", major, minor, revision, kVersionFirst));
    contents.archive_version = fmt::format("{}.{}", major, minor);
    integer_size_ = TRY(byte());
    const unsigned offset_size = TRY(byte());
    if (integer_size_ != 4 || (offset_size != 4 && offset_size != 8)) return damage("integers of an unknown size");
    if (TRY(byte()) != kFormatCustom) return damage("the archive is not in the custom format (pg_dump -Fc)");
    const auto compression = minor >= kVersionCompressionByte ? std::int64_t{TRY(byte())} : TRY(integer());
    contents.compressed = compression != 0;
    for (int i = 0; i < 7; ++i) TRY(integer());  // when it was made
    contents.database = TRY(text()).value_or("");
    contents.server_version = TRY(text()).value_or("");
    contents.dump_version = TRY(text()).value_or("");

    const auto count = TRY(integer());
    if (count < 0 || static_cast<std::uint64_t>(count) > kContentsMax / kEntryMin) return damage("impossible number of entries");
    for (std::int64_t i = 0; i < count; ++i) {
      contents.entries.push_back(TRY(entry(minor, offset_size, kinds.emplace_back(), contents)));
    }
    return contents;
  }

 private:
  Error cut_off() {
    incomplete_ = true;
    return damage("its table of contents is cut off");
  }
  Result<ByteView> raw(std::size_t n) {
    if (n > data_.size() - at_) return cut_off();
    const auto view = data_.subspan(at_, n);
    at_ += n;
    return view;
  }
  Result<std::uint8_t> byte() { return std::to_integer<std::uint8_t>(TRY(raw(1))[0]); }
  Result<std::int64_t> integer() {
    const bool negative = TRY(byte()) != 0;
    std::int64_t value = 0;
    const auto bytes = TRY(raw(integer_size_));
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::to_integer<std::int64_t>(bytes[i]);
    return negative ? -value : value;
  }
  Result<std::optional<std::string>> text() {
    const auto length = TRY(integer());
    if (length == -1) return std::optional<std::string>();
    if (length < 0 || static_cast<std::uint64_t>(length) > kTextMax) return damage("impossible length of a text");
    return std::optional<std::string>(as_text(TRY(raw(static_cast<std::size_t>(length)))));
  }

  Result<DumpEntry> entry(unsigned minor, std::size_t offset_size, DataKind& data, DumpContents& contents) {
    DumpEntry e;
    e.id = TRY(integer());
    const bool has_data = TRY(integer()) != 0;
    TRY(text());  // catalog's oid
    TRY(text());  // its own oid
    e.name = TRY(text()).value_or("");
    e.kind = TRY(text()).value_or("");
    const auto section = TRY(integer());
    if (section < 1 || section > 4) return damage("unknown section");
    e.section = static_cast<DumpSection>(section);
    auto made = TRY(text());
    const bool through_root = made && made->starts_with(kThroughRoot);
    if (e.kind == "DATABASE") contents.create_database = std::move(made).value_or("");
    else if (e.kind == "DATABASE PROPERTIES" || e.name.starts_with("DATABASE ")) contents.database_sql += std::move(made).value_or("");
    TRY(text());  // how it is dropped
    const bool is_copy = TRY(text()).value_or("").starts_with("COPY ");
    data = !has_data ? DataKind::None : is_copy && !through_root ? DataKind::Rows : DataKind::Other;
    e.schema = TRY(text()).value_or("");
    TRY(text());  // tablespace
    TRY(text());  // table access method
    if (minor >= kVersionRelkind) TRY(integer());
    e.owner = TRY(text()).value_or("");
    TRY(text());  // WITH OIDS
    while (const auto need = TRY(text())) {
      std::int64_t id = 0;
      const auto [end, error] = std::from_chars(need->data(), need->data() + need->size(), id);
      if (error != std::errc() || end != need->data() + need->size()) return damage("a dependency is no number");
      e.needs.push_back(id);
    }
    TRY(byte());             // whether the offset is known
    TRY(raw(offset_size));   // not where the archive went to a pipe
    return e;
  }

  ByteView data_;
  std::size_t at_ = 0;
  std::uint8_t integer_size_ = 4;
  bool incomplete_ = false;
};

}  // namespace

Result<DumpContents> read_table_of_contents(ByteView head) {
  std::vector<DataKind> kinds;
  return ContentsReader(head).read(kinds);
}

const DumpEntry* DumpContents::find_data(std::string_view schema, std::string_view table) const {
  const auto found = std::ranges::find_if(entries, [&](const DumpEntry& e) { return e.kind == "TABLE DATA" && e.schema == schema && e.name == table; });
  return found == entries.end() ? nullptr : &*found;
}

std::uint64_t DumpContents::rows() const {
  std::uint64_t rows = 0;
  for (const auto& entry : entries) rows += entry.rows.value_or(0);
  return rows;
}

std::size_t DumpContents::tables() const {
  return static_cast<std::size_t>(std::ranges::count_if(entries, [](const DumpEntry& e) { return e.kind == "TABLE DATA"; }));
}

Status ArchiveScanner::take_contents() {
  ContentsReader reader(head_);
  std::vector<DataKind> kinds;
  auto contents = reader.read(kinds);
  if (!contents) {
    if (!reader.incomplete()) return std::move(contents).failure();
    if (head_.size() >= kContentsMax) return damage("its table of contents is too long");
    next_try_ = head_.size() * 2;
    return ok();
  }
  contents_ = std::move(*contents);
  kinds_ = std::move(kinds);
  contents_.data_start = at_ = reader.position();
  integer_size_ = reader.integer_size();
  state_ = State::BlockType;
  const Bytes rest(head_.begin() + static_cast<std::ptrdiff_t>(reader.position()), head_.end());
  head_ = Bytes();
  return take(rest);
}

/// A sign byte and the number's bytes, of which some may come later. Sets `value` once it is complete. @return bytes used
Result<std::size_t> ArchiveScanner::take_integer(ByteView data, std::int64_t& value) {
  const std::size_t whole = std::size_t{1} + integer_size_;
  const std::size_t used = std::min(data.size(), whole - integer_.size());
  append(integer_, data.first(used));
  if (integer_.size() < whole) return used;
  value = 0;
  for (std::size_t i = whole; i-- > 1;) value = value << 8 | std::to_integer<std::int64_t>(integer_[i]);
  if (integer_[0] != std::byte{0}) value = -value;
  return used;
}

Status ArchiveScanner::begin_block(std::int64_t id) {
  const auto found = std::ranges::find(contents_.entries, id, &DumpEntry::id);
  if (found == contents_.entries.end()) return damage("data of an entry that its table of contents does not have");
  block_ = &*found;
  if (block_->length != 0) return damage("an entry has data twice");
  block_->offset = block_start_;
  const auto kind = kinds_[static_cast<std::size_t>(found - contents_.entries.begin())];
  counts_ = !contents_.compressed && block_type_ == kBlockData && kind == DataKind::Rows;
  newlines_ = 0;
  tail_.clear();
  return ok();
}

void ArchiveScanner::end_block() {
  block_->length = at_ - block_start_;
  if (counts_) {
    std::uint64_t rows = newlines_;
    if (as_text(tail_).ends_with(kCopyEnd)) rows -= 3;
    block_->rows = rows;
  }
  state_ = State::BlockType;
}

Status ArchiveScanner::take(ByteView data) {
  if (state_ == State::Contents) {
    append(head_, data);
    if (head_.size() < std::max(next_try_, kFirstTry)) return ok();
    return take_contents();
  }
  while (!data.empty()) {
    std::size_t used = 0;
    std::int64_t value = 0;
    switch (state_) {
      case State::Contents:
      case State::BlockEnd: break;
      case State::BlockType:
        block_start_ = at_;
        block_type_ = std::to_integer<std::uint8_t>(data[0]);
        if (block_type_ != kBlockData && block_type_ != kBlockLargeObjects) return damage(fmt::format("unknown kind of block {}", block_type_));
        used = 1;
        state_ = State::BlockId;
        break;
      case State::BlockId:
      case State::PieceLength:
      case State::LargeObject: {
        used = TRY(take_integer(data, value));
        if (integer_.size() < std::size_t{1} + integer_size_) break;
        integer_.clear();
        if (state_ == State::BlockId) {
          TRY(begin_block(value));
          state_ = block_type_ == kBlockData ? State::PieceLength : State::LargeObject;
        } else if (state_ == State::LargeObject) {
          state_ = value != 0 ? State::PieceLength : State::BlockEnd;
        } else if (value < 0) {
          return damage("a piece of data has a negative length");
        } else if (value == 0) {
          state_ = block_type_ == kBlockLargeObjects ? State::LargeObject : State::BlockEnd;
        } else {
          piece_left_ = static_cast<std::uint64_t>(value);
          state_ = State::Piece;
        }
        break;
      }
      case State::Piece: {
        used = static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), piece_left_));
        const auto piece = data.first(used);
        if (counts_) {
          newlines_ += static_cast<std::uint64_t>(std::ranges::count(piece, std::byte{'\n'}));
          append(tail_, piece.last(std::min(piece.size(), kCopyEnd.size())));
          if (tail_.size() > kCopyEnd.size()) tail_.erase(tail_.begin(), tail_.end() - static_cast<std::ptrdiff_t>(kCopyEnd.size()));
        }
        piece_left_ -= used;
        if (piece_left_ == 0) state_ = State::PieceLength;
        break;
      }
    }
    at_ += used;
    data = data.subspan(used);
    if (state_ == State::BlockEnd) end_block();
  }
  return ok();
}

std::optional<std::string> ArchiveScanner::database() const {
  return state_ == State::Contents ? std::nullopt : std::optional(contents_.database);
}

Result<DumpContents> ArchiveScanner::finish() && {
  if (state_ == State::Contents) {
    next_try_ = 0;
    TRY(take_contents());
    if (state_ == State::Contents) return damage("its table of contents is cut off");
  }
  if (state_ != State::BlockType) return damage("its data is cut off");
  for (std::size_t i = 0; i < kinds_.size(); ++i) {
    const auto& entry = contents_.entries[i];
    if (kinds_[i] != DataKind::None && entry.length == 0) return damage(fmt::format("it is cut off: {} {} has no data", entry.kind, entry.name));
  }
  contents_.length = at_;
  return std::move(contents_);
}

}  // namespace pgmint::logical
