#include "postgres/tar_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>

namespace pgmint::postgres {
namespace {

// Where a header has its fields: offset, length.
struct Field {
  std::size_t at, length;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12}, kTime{136, 12}, kChecksum{148, 8}, kLink{157, 100},
    kMagic{257, 5}, kOwner{265, 32}, kGroup{297, 32}, kPrefix{345, 155};
constexpr std::size_t kType = 156;

std::string_view field_of(ByteView block, Field field) { return as_text(block.subspan(field.at, field.length)); }

/// Up to the first zero byte.
std::string text_of(ByteView block, Field field) {
  const auto text = field_of(block, field);
  return std::string(text.substr(0, text.find('\0')));
}

/// Octal digits between blanks, or, with the highest bit set, base 256.
std::optional<std::uint64_t> number_of(ByteView block, Field field) {
  auto text = field_of(block, field);
  std::uint64_t value = 0;
  if ((static_cast<unsigned char>(text.front()) & 0x80U) != 0) {
    if (static_cast<unsigned char>(text.front()) != 0x80U) return std::nullopt;  // negative, or above 2^88
    for (const char c : text.substr(1)) {
      if (value >> 56U != 0) return std::nullopt;
      value = value << 8U | static_cast<unsigned char>(c);
    }
    return value;
  }
  while (text.starts_with(' ')) text.remove_prefix(1);
  if (text.empty() || text.front() < '0' || text.front() > '7') return std::nullopt;
  while (!text.empty() && text.front() >= '0' && text.front() <= '7') {
    value = value << 3U | static_cast<unsigned>(text.front() - '0');  // 12 digits: 36 bits
    text.remove_prefix(1);
  }
  if (text.find_first_not_of(std::string_view(" \0", 2)) != std::string_view::npos) return std::nullopt;
  return value;
}

/// The sum of all bytes, those of the checksum taken for blanks.
std::uint64_t checksum_of(ByteView block) {
  const auto sum = [](ByteView bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0}, [](std::uint64_t s, std::byte b) { return s + std::to_integer<std::uint64_t>(b); });
  };
  return sum(block) - sum(block.subspan(kChecksum.at, kChecksum.length)) + kChecksum.length * ' ';
}

Error damaged(std::string what) { return Error(Errc::Corruption, "tar archive: " + std::move(what)); }

/// A name fit for a message, whatever bytes it has.
std::string shown(std::string_view name) {
  std::string text(name);
  std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }, '?');
  return text;
}

/// A path that stays below where it is put; nullopt: it would not. PostgreSQL ends names of directories and links with a slash, and
/// begins one of them with "./".
std::optional<std::string> contained(std::string name) {
  if (name.starts_with("./")) name.erase(0, 2);
  if (name.ends_with('/')) name.pop_back();
  if (name.empty() || name.front() == '/') return std::nullopt;
  for (std::string_view rest = name;;) {
    const auto end = rest.find('/');
    const auto part = rest.substr(0, end);
    if (part.empty() || part == "." || part == "..") return std::nullopt;
    if (end == std::string_view::npos) return name;
    rest.remove_prefix(end + 1);
  }
}

bool is_empty_block(ByteView block) {
  return std::ranges::all_of(block, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

Result<TarEntry> parse_tar_header(ByteView block) {
  if (block.size() != kTarBlock) return damaged("a header is truncated");
  if (field_of(block, kMagic) != "ustar") return damaged("a header is none of ustar's");
  if (number_of(block, kChecksum) != checksum_of(block)) return damaged("the checksum of a header is wrong");
  const auto prefix = text_of(block, kPrefix);
  const auto full = prefix.empty() ? text_of(block, kName) : prefix + "/" + text_of(block, kName);
  TarEntry entry;
  auto name = contained(full);
  if (!name) return damaged(fmt::format("\"{}\" is no name below the data directory", shown(full)));
  entry.name = std::move(*name);
  const auto size = number_of(block, kSize), mode = number_of(block, kMode), uid = number_of(block, kUid), gid = number_of(block, kGid),
             time = number_of(block, kTime);
  if (!size || !mode || !uid || !gid || !time || *size >= kTarFileMax || *uid > UINT32_MAX || *gid > UINT32_MAX || *time > INT64_MAX / 1'000'000'000)
    return damaged(fmt::format("{}: a number of its header is out of range", shown(entry.name)));
  switch (const char type = static_cast<char>(block[kType])) {
    case '0':
    case '\0':
      entry.kind = TarEntry::Kind::File;
      entry.size = *size;
      break;
    case '5':
      entry.kind = TarEntry::Kind::Directory;
      break;
    case '2':
      entry.kind = TarEntry::Kind::Symlink;
      entry.link = text_of(block, kLink);
      if (entry.link.empty()) return damaged(fmt::format("{}: a link that leads nowhere", shown(entry.name)));
      break;
    default:
      return damaged(fmt::format("{}: an entry of kind {}, which PostgreSQL does not send", shown(entry.name), static_cast<int>(type)));
  }
  if (entry.kind != TarEntry::Kind::File && *size != 0) return damaged(fmt::format("{}: content where there can be none", shown(entry.name)));
  entry.mode = static_cast<std::uint32_t>(*mode & 07777U);
  entry.uid = static_cast<std::uint32_t>(*uid);
  entry.gid = static_cast<std::uint32_t>(*gid);
  entry.mtime_s = static_cast<std::int64_t>(*time);
  entry.owner = text_of(block, kOwner);
  entry.group = text_of(block, kGroup);
  return entry;
}

Status TarReader::feed(ByteView bytes) {
  while (!bytes.empty()) {
    if (left_ > 0) {
      const auto part = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
      bytes = bytes.subspan(part.size());
      left_ -= part.size();
      TRY(sink_.content(part));
      if (left_ == 0) TRY(sink_.entry_ends());
    } else if (padding_ > 0) {
      const auto part = std::min(padding_, bytes.size());
      bytes = bytes.subspan(part);
      padding_ -= part;
    } else {
      const auto part = bytes.first(std::min(kTarBlock - header_.size(), bytes.size()));
      bytes = bytes.subspan(part.size());
      append(header_, part);
      if (header_.size() == kTarBlock) TRY(take_header());
    }
  }
  return ok();
}

Status TarReader::take_header() {
  if (is_empty_block(header_)) {
    ended_ = true;
    header_.clear();
    return ok();
  }
  if (ended_) return damaged("something follows its end");
  auto entry = TRY(parse_tar_header(header_));
  header_.clear();
  name_ = entry.name;
  left_ = entry.size;
  padding_ = static_cast<std::size_t>((kTarBlock - entry.size % kTarBlock) % kTarBlock);
  TRY(sink_.entry(std::move(entry)));
  return left_ == 0 ? sink_.entry_ends() : ok();
}

Status TarReader::finish() {
  if (left_ > 0) return damaged(fmt::format("it ends in the middle of {}: {} bytes are missing", shown(name_), left_));
  if (padding_ > 0) return damaged(fmt::format("it ends right behind {}", shown(name_)));
  if (!header_.empty()) return damaged("it ends in the middle of a header");
  return ok();
}

}  // namespace pgmint::postgres
