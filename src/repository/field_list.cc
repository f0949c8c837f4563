#include "repository/field_list.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgmint::repository {

void FieldWriter::add(std::uint64_t tag, ByteView value) {
  PGMINT_ASSERT(fields_.empty() || fields_.back().first <= tag);
  fields_.emplace_back(tag, to_bytes(value));
}
void FieldWriter::u8(std::uint64_t tag, std::uint8_t v) {
  codec::BinaryWriter out;
  out.u8(v);
  add(tag, out.view());
}
void FieldWriter::u32(std::uint64_t tag, std::uint32_t v) {
  codec::BinaryWriter out;
  out.u32(v);
  add(tag, out.view());
}
void FieldWriter::u64(std::uint64_t tag, std::uint64_t v) {
  codec::BinaryWriter out;
  out.u64(v);
  add(tag, out.view());
}

Bytes FieldWriter::take() {
  codec::BinaryWriter out;
  out.varint(fields_.size());
  for (const auto& [tag, value] : fields_) {
    out.varint(tag);
    out.bytes(value);
  }
  fields_.clear();
  return out.take();
}

Result<FieldReader> FieldReader::parse(codec::BinaryReader& in, std::string_view what, std::initializer_list<std::uint64_t> known) {
  FieldReader reader;
  reader.what_ = std::string(what);
  auto count = TRY(in.count(2));
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < count; ++i) {
    auto tag = TRY(in.varint());
    auto value = TRY(in.bytes(in.remaining()));
    if (tag < last) return in.corrupt("field tags are not in order");
    last = tag;
    if (std::find(known.begin(), known.end(), tag) == known.end()) {
      if (tag % 2 == 1)
        return Error(Errc::Precondition, fmt::format("{}: field {} must be understood and is not", what, tag),
                     Hint{"a newer pgmint wrote this; use that release or a newer one"});
      continue;
    }
    reader.fields_.emplace(tag, value);
  }
  return reader;
}

Result<ByteView> FieldReader::value(std::uint64_t tag) const {
  auto it = fields_.find(tag);
  if (it == fields_.end()) return Error(Errc::Corruption, fmt::format("{}: field {} is missing", what_, tag));
  return it->second;
}

std::vector<ByteView> FieldReader::all(std::uint64_t tag) const {
  std::vector<ByteView> values;
  auto [from, to] = fields_.equal_range(tag);
  for (auto it = from; it != to; ++it) values.push_back(it->second);
  return values;
}

Error FieldReader::wrong_size(std::uint64_t tag) const {
  return Error(Errc::Corruption, fmt::format("{}: field {} has a wrong size", what_, tag));
}

Result<std::uint8_t> FieldReader::u8(std::uint64_t tag) const {
  auto raw = TRY(array<1>(tag));
  return std::to_integer<std::uint8_t>(raw[0]);
}
Result<std::uint32_t> FieldReader::u32(std::uint64_t tag) const {
  auto raw = TRY(array<4>(tag));
  codec::BinaryReader in(raw, what_);
  return in.u32();
}
Result<std::uint64_t> FieldReader::u64(std::uint64_t tag) const {
  auto raw = TRY(array<8>(tag));
  codec::BinaryReader in(raw, what_);
  return in.u64();
}
Result<std::string> FieldReader::text(std::uint64_t tag, std::size_t limit) const {
  auto view = TRY(value(tag));
  if (view.size() > limit) return wrong_size(tag);
  return std::string(as_text(view));
}
Result<std::string> FieldReader::optional_text(std::uint64_t tag, std::size_t limit) const {
  if (!has(tag)) return std::string();
  return text(tag, limit);
}

}  // namespace pgmint::repository
