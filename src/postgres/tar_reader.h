// A tar archive as it arrives, in pieces of any length: what BASE_BACKUP sends of each tablespace.
// Format: ustar as PostgreSQL writes it (src/port/tar.c, 13 to 18): files, directories, symbolic links, sizes in octal or base 256.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace pgmint::postgres {

inline constexpr std::size_t kTarBlock = 512;

struct TarEntry {
  enum class Kind : std::uint8_t { File, Directory, Symlink } kind = Kind::File;
  std::string name;  ///< relative, '/' between its parts, none of them empty, "." or ".."
  std::string link;  ///< Symlink: where it leads, as it stands there
  std::string owner, group;
  std::uint64_t size = 0;  ///< of a File; below kTarFileMax
  std::uint32_t mode = 0;  ///< permission bits
  std::uint32_t uid = 0, gid = 0;
  std::int64_t mtime_s = 0;  ///< since the epoch
};
inline constexpr std::uint64_t kTarFileMax = 1ULL << 48;

/// @param block  kTarBlock bytes @errors Corruption: checksum, a kind of entry that PostgreSQL does not send (named), a number out of
/// range, a name that would lead out of its directory
Result<TarEntry> parse_tar_header(ByteView block);

class TarSink {
 public:
  virtual ~TarSink() = default;
  virtual Status entry(TarEntry entry) = 0;
  /// Of the last entry, in order. Borrowed for the call.
  virtual Status content(ByteView bytes) = 0;
  /// The last entry is whole.
  virtual Status entry_ends() = 0;
};

/// Not thread-safe. Borrows the sink. Memory: one header. After an error nothing more may be fed.
class TarReader {
 public:
  explicit TarReader(TarSink& sink) : sink_(sink) { header_.reserve(kTarBlock); }
  /// @errors as parse_tar_header, the sink's
  Status feed(ByteView bytes);
  /// The archive ends here. PostgreSQL sends no two empty blocks at its end; they may be there. @errors Corruption: in the middle
  Status finish();

 private:
  Status take_header();

  TarSink& sink_;
  Bytes header_;             ///< what has come of one
  std::string name_;         ///< of the entry that is being read, for errors
  std::uint64_t left_ = 0;   ///< of its content
  std::size_t padding_ = 0;  ///< behind it
  bool ended_ = false;       ///< an empty block has come
};

}  // namespace pgmint::postgres
