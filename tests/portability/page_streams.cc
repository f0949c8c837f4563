// The page codec on another processor: does it bring pages back, and write the same streams? scripts/check-aarch64.sh builds this for both.
//
//   page_streams write FILE    makes groups of pages from a seed, writes them to FILE, and prints what they became
//   page_streams read FILE     prints what the groups of FILE become here
//
// Exits 1 when a group does not come back.
#include <algorithm>
#include <cstdio>
#include <fstream>

#include "codec/page_decoder.h"
#include "codec/page_encoder.h"
#include "codec/testing_pages.h"

namespace pgmint::codec {
namespace {

std::vector<Bytes> make_groups() {
  SeededRandom random(42);
  PageMaker maker(random);
  std::vector<Bytes> groups(400);
  for (auto& group : groups) {
    group = maker.group(1 + static_cast<std::uint32_t>(random.below(kGroupPagesMax)));
    for (auto n = random.below(5); n > 0; --n) maker.damage(group);
  }
  return groups;
}

void write_groups(const char* path, const std::vector<Bytes>& groups) {
  std::ofstream file(path, std::ios::binary);
  for (const auto& group : groups) {
    const auto size = static_cast<std::uint32_t>(group.size());
    file.write(reinterpret_cast<const char*>(&size), sizeof size);
    file.write(reinterpret_cast<const char*>(group.data()), size);
  }
}

std::vector<Bytes> read_groups(const char* path) {
  std::vector<Bytes> groups;
  std::ifstream file(path, std::ios::binary);
  std::uint32_t size = 0;
  while (file.read(reinterpret_cast<char*>(&size), sizeof size)) {
    groups.emplace_back(size);
    file.read(reinterpret_cast<char*>(groups.back().data()), size);
  }
  return groups;
}

int run(const std::vector<Bytes>& groups) {
  PageEncoder encoder;
  PageDecoder decoder;
  int taken_apart = 0, lost = 0;
  std::uint64_t sum = 0xCBF29CE484222325U;  // FNV-1a of all streams
  for (const auto& group : groups) {
    const auto streams = encoder.encode(group);
    if (!streams) continue;
    ++taken_apart;
    for (const auto part : {streams->control, streams->raw, streams->remainder})
      for (const auto byte : part) sum = (sum ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001B3U;
    Bytes out(group.size());
    if (!decoder.decode(streams->control, streams->raw, streams->remainder, out) || out != group) ++lost;
  }
  std::printf("%zu groups, %d taken apart, %d lost, streams %016llx\n", groups.size(), taken_apart, lost, static_cast<unsigned long long>(sum));
  return lost == 0 && taken_apart > 100 ? 0 : 1;
}

}  // namespace
}  // namespace pgmint::codec

int main(int argc, char** argv) {
  using namespace pgmint::codec;
  if (argc != 3) return 2;
  if (std::string_view(argv[1]) == "read") return run(read_groups(argv[2]));
  const auto groups = make_groups();
  write_groups(argv[2], groups);
  return run(groups);
}
