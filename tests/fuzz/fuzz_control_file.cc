// The input is a pg_control; its CRC is made to fit, since no fuzzer guesses one. Byte for byte as given, and so
// mended.
#include "codec/crc32c.h"
#include "fuzz_input.h"
#include "postgres/control_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  ByteView input = fuzz_input(data, size);
  auto check = [](ByteView bytes) {
    auto parsed = postgres::parse_control_file(bytes);
    if (!parsed && parsed.failure().code() == Errc::Precondition) return;  // a version from the future
    if (!parsed_or_corrupt(parsed)) return;
    PGMINT_ASSERT(parsed->version != nullptr && parsed->block_size >= 1024 && parsed->relation_segment_blocks > 0);
    (void)postgres::cluster_state_name(parsed->state);
    (void)format_rfc3339(parsed->modified);
  };
  check(input);
  if (input.size() < 16) return 0;
  for (const auto& version : postgres::all_versions()) {
    if (input.size() < version.control.crc + sizeof(std::uint32_t)) continue;
    Bytes mended = to_bytes(input);
    std::memcpy(mended.data() + 8, &version.control_version, sizeof version.control_version);
    std::memcpy(mended.data() + 12, &version.catalog_version, sizeof version.catalog_version);
    auto crc = codec::crc32c(ByteView(mended).first(version.control.crc));
    std::memcpy(mended.data() + version.control.crc, &crc, sizeof crc);
    check(mended);
  }
  return 0;
}
