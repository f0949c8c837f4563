// The input is what a server sends of a base backup: messages, a tar archive, whose checksums are made to fit, and a file of
// which only what changed comes.
#include <algorithm>
#include <functional>

#include "fuzz_input.h"
#include "postgres/base_backup_stream.h"
#include "postgres/incremental_file.h"
#include "postgres/tar_reader.h"

namespace {

struct Counted final : pgmint::postgres::TarSink {
  std::uint64_t left = 0;
  pgmint::Status entry(pgmint::postgres::TarEntry entry) override {
    using pgmint::postgres::TarEntry;
    PGMINT_ASSERT(left == 0 && !entry.name.empty() && entry.name.front() != '/');
    PGMINT_ASSERT(("/" + entry.name + "/").find("/../") == std::string::npos);
    left = entry.kind == TarEntry::Kind::File ? entry.size : 0;
    return pgmint::ok();
  }
  pgmint::Status content(pgmint::ByteView bytes) override {
    PGMINT_ASSERT(bytes.size() <= left);
    left -= bytes.size();
    return pgmint::ok();
  }
  pgmint::Status entry_ends() override {
    PGMINT_ASSERT(left == 0);
    return pgmint::ok();
  }
};

/// A file of which only what changed comes: its header first, whatever the pages are.
void read_part(pgmint::ByteView input) {
  using namespace pgmint;
  constexpr postgres::IncrementalShape kShape{512, 4096};
  const auto front = input.first(std::min(input.size(), postgres::kIncrementalFront));
  const auto size = postgres::incremental_header_size(front, input.size(), kShape);
  if (parsed_or_corrupt(size)) PGMINT_ASSERT(*size <= input.size());
  const auto file = postgres::parse_incremental_header(input, kShape);
  if (!parsed_or_corrupt(file)) return;
  PGMINT_ASSERT(file->length() <= kShape.blocks_per_segment);
  PGMINT_ASSERT(std::ranges::adjacent_find(file->blocks, std::greater_equal()) == file->blocks.end());
  if (size) PGMINT_ASSERT(*size + file->blocks.size() * kShape.block_size == input.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  const ByteView input = fuzz_input(data, size);
  (void)parsed_or_corrupt(postgres::parse_base_backup_message(input));
  (void)postgres::incremental_path(as_text(input));
  read_part(input);
  auto mended = to_bytes(input);
  for (std::size_t at = 0; at + postgres::kTarBlock <= mended.size(); at += postgres::kTarBlock) {
    auto* block = reinterpret_cast<unsigned char*>(mended.data()) + at;
    std::memcpy(block + 257, "ustar", 5);
    std::memset(block + 148, ' ', 8);
    unsigned sum = 0;
    for (std::size_t i = 0; i < postgres::kTarBlock; ++i) sum += block[i];
    for (int digit = 5; digit >= 0; --digit, sum >>= 3U) block[148 + digit] = static_cast<unsigned char>('0' + (sum & 7U));
    block[154] = 0;
  }
  for (const auto& archive : {to_bytes(input), mended}) {
    Counted sink;
    postgres::TarReader reader(sink);
    auto fed = reader.feed(archive);
    if (fed) fed = reader.finish();
    PGMINT_ASSERT(fed || fed.failure().code() == Errc::Corruption);
  }
  return 0;
}
