#include "storage/blob_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/blob_name.h"

namespace pgmint::storage {
namespace {

constexpr std::size_t kNameMax = 512;

bool valid_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool valid_part(std::string_view part) {
  return !part.empty() && part[0] != '.' && std::all_of(part.begin(), part.end(), valid_character);
}

/// Splits at '/'; `allow_empty_last` is for prefixes, which may end in '/'.
bool valid_parts(std::string_view text, bool allow_empty_last) {
  if (text.size() > kNameMax) return false;
  for (;;) {
    auto slash = text.find('/');
    if (slash == std::string_view::npos) return valid_part(text) || (allow_empty_last && text.empty());
    if (!valid_part(text.substr(0, slash))) return false;
    text.remove_prefix(slash + 1);
  }
}

Error malformed(std::string_view what, std::string_view text) {
  std::string shown;  // may hold anything, and goes to a terminal
  for (char c : text.substr(0, 80)) shown += valid_character(c) || c == '/' ? c : '?';
  return Error(Errc::Internal, fmt::format("not a valid object {}: '{}'", what, shown));
}

}  // namespace

Result<Created> BlobStore::create_from(const std::string& name, const BlobStream& stream) {
  Bytes whole;
  whole.reserve(static_cast<std::size_t>(stream.size));
  while (whole.size() < stream.size) append(whole, TRY(stream.piece(whole.size())));
  PGMINT_ASSERT(whole.size() == stream.size);
  return create(name, whole);
}

Result<std::optional<BlobFront>> BlobStore::read_front(const std::string& name, std::size_t length) {
  PGMINT_ASSERT(length > 0 && length <= kFrontMax);
  const auto info = TRY(stat(name));
  if (!info) return std::optional<BlobFront>();
  BlobFront front{info->size, Bytes(static_cast<std::size_t>(std::min<std::uint64_t>(info->size, length)))};
  if (auto read = read_range(name, 0, front.bytes); !read) {
    if (read.failure().code() == Errc::NotFound) return std::optional<BlobFront>();
    return std::move(read).failure();
  }
  return std::optional(std::move(front));
}

Status BlobStore::remove_all(std::span<const std::string> names) {
  for (const auto& name : names) TRY(remove(name));
  return ok();
}

Result<std::vector<std::string>> BlobStore::remove_unlocked(std::span<const std::string> names) {
  TRY(remove_all(names));
  return std::vector<std::string>();
}

bool valid_blob_name(std::string_view name) { return valid_parts(name, false); }
bool valid_blob_prefix(std::string_view prefix) { return valid_parts(prefix, true); }
bool valid_parts_prefix(std::string_view prefix) {
  return prefix.empty() || (prefix.ends_with('/') && valid_blob_prefix(prefix));
}

Status check_blob_name(std::string_view name) {
  if (!valid_blob_name(name)) return malformed("name", name);
  return ok();
}
Status check_blob_prefix(std::string_view prefix) {
  if (!valid_blob_prefix(prefix)) return malformed("prefix", prefix);
  return ok();
}
Status check_parts_prefix(std::string_view prefix) {
  if (!valid_parts_prefix(prefix)) return malformed("prefix", prefix);
  return ok();
}

std::string parent_of(std::string_view name) {
  auto slash = name.rfind('/');
  return slash == std::string_view::npos ? std::string() : std::string(name.substr(0, slash));
}
std::string leaf_of(std::string_view name) {
  auto slash = name.rfind('/');
  return std::string(slash == std::string_view::npos ? name : name.substr(slash + 1));
}

Result<std::vector<BlobInfo>> list_all(BlobStore& store, const std::string& prefix) {
  std::vector<BlobInfo> all;
  TRY(store.list(prefix, "", [&](const BlobInfo& info) {
    all.push_back(info);
    return ok();
  }));
  return all;
}

}  // namespace pgmint::storage
