// First byte: the length of the pieces; the rest is an archive as pg_dump writes it to a pipe. What is found of it lies in it, does not hang on
// the pieces, and survives its JSON.
#include "fuzz_input.h"
#include "logical/dump.h"

namespace {

pgmint::Result<pgmint::logical::DumpContents> scan(pgmint::ByteView archive, std::size_t piece) {
  pgmint::logical::ArchiveScanner scanner;
  while (!archive.empty()) {
    const auto n = std::min(piece, archive.size());
    TRY(scanner.take(archive.first(n)));
    archive = archive.subspan(n);
  }
  return std::move(scanner).finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::logical;
  if (size == 0) return 0;
  const auto archive = fuzz_input(data + 1, size - 1);
  const auto contents = scan(archive, std::size_t{1} + data[0]);
  const auto whole = scan(archive, archive.size() + 1);
  PGMINT_ASSERT(contents.has_value() == whole.has_value());
  if (!parsed_or_corrupt(contents)) return 0;
  for (const auto& entry : contents->entries)
    PGMINT_ASSERT(entry.length == 0 || (entry.offset >= contents->data_start && entry.offset + entry.length <= archive.size()));
  const auto text = encode_contents(*contents);
  PGMINT_ASSERT(encode_contents(*whole) == text);
  const auto again = parse_contents(text);
  PGMINT_ASSERT(again.has_value() && encode_contents(*again) == text);
  return 0;
}
