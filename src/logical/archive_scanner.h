// pg_dump's custom format, as it flows by: what the archive contains, where each table's data stands, how many rows it has.
// Source: pg_backup_archiver.c and pg_backup_custom.c of PostgreSQL 13 to 18 (archive versions 1.14 to 1.16).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace pgmint::logical {

/// pg_restore's sections.
enum class DumpSection : std::uint8_t { None = 1, PreData = 2, Data = 3, PostData = 4 };

/// A line of `pg_restore --list`.
struct DumpEntry {
  std::int64_t id = 0;
  std::string kind;    ///< "TABLE", "TABLE DATA", "INDEX", "FK CONSTRAINT", ...
  std::string schema;  ///< empty: of no schema
  std::string name;
  std::string owner;
  DumpSection section = DumpSection::None;
  std::vector<std::int64_t> needs;   ///< ids that come before it
  std::uint64_t offset = 0;          ///< of its data in the archive, block header included
  std::uint64_t length = 0;          ///< 0: it has no data
  std::optional<std::uint64_t> rows; ///< of data as COPY writes it, which goes into the table of that name; nullopt: not counted
};

/// What one archive contains.
struct DumpContents {
  std::string database, server_version, dump_version;
  std::string archive_version;    ///< "1.14"
  std::string create_database;    ///< the statement that makes the database; empty: the archive has none
  std::string database_sql;       ///< what it says of the database itself: settings, grants, comment; only read_table_of_contents() knows it
  bool compressed = false;        ///< the data of tables; their rows are not counted then
  std::uint64_t data_start = 0;   ///< header and table of contents lie before
  std::uint64_t length = 0;       ///< of the archive
  std::vector<DumpEntry> entries; ///< in the archive's order

  const DumpEntry* find_data(std::string_view schema, std::string_view table) const;
  std::uint64_t rows() const;     ///< that were counted
  std::size_t tables() const;     ///< with data
};

/// Of an archive's first `data_start` bytes; where data stands is not known from them. @errors Corruption
Result<DumpContents> read_table_of_contents(ByteView head);

/// Takes an archive in pieces of any size. Not thread-safe.
class ArchiveScanner {
 public:
  /// What an archive's table of contents promises of an entry's data.
  enum class DataKind : std::uint8_t { None, Rows, Other };

  /// @errors Corruption: not an archive in the custom format of a known version
  Status take(ByteView data);
  /// Which database it is of, once enough has come to know.
  std::optional<std::string> database() const;
  /// After the last byte. @errors Corruption: it is cut off, or lacks data that its table of contents promises
  Result<DumpContents> finish() &&;

 private:
  enum class State : std::uint8_t { Contents, BlockType, BlockId, PieceLength, Piece, LargeObject, BlockEnd };

  Status take_contents();
  Result<std::size_t> take_integer(ByteView data, std::int64_t& value);
  Status begin_block(std::int64_t id);
  void end_block();

  State state_ = State::Contents;
  DumpContents contents_;
  Bytes head_;                       ///< until the table of contents is complete
  std::size_t next_try_ = 0;
  std::uint64_t at_ = 0;             ///< of the archive
  std::uint8_t integer_size_ = 4;
  Bytes integer_;                    ///< of which not all bytes have come yet
  std::uint8_t block_type_ = 0;
  std::uint64_t block_start_ = 0;
  DumpEntry* block_ = nullptr;
  bool counts_ = false;              ///< the block is a table's data as COPY writes it
  std::uint64_t newlines_ = 0;
  Bytes tail_;                       ///< the block's last bytes
  std::uint64_t piece_left_ = 0;
  std::vector<DataKind> kinds_;      ///< per entry
};

}  // namespace pgmint::logical
