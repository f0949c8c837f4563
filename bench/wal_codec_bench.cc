// What the WAL codec makes of WAL segments, piece by piece as `wal push` stores them: wal_codec_bench DIRECTORY_OR_FILE...
// A line for each codec: milliseconds of this thread's CPU a segment of 16 MiB, compressing and decompressing, the lowest of several
// passes over all files of an argument; the ratio; both against the plain codec before it.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "codec/compression.h"

namespace {

using namespace pgmint;
using namespace pgmint::codec;

constexpr std::size_t kPiece = 256 << 10;
constexpr int kPasses = 7;

double cpu_ms() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

std::vector<Bytes> read_all(const std::filesystem::path& argument) {
  std::vector<std::filesystem::path> paths;
  if (std::filesystem::is_directory(argument))
    for (const auto& entry : std::filesystem::directory_iterator(argument)) paths.push_back(entry.path());
  else
    paths.push_back(argument);
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> files;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
    files.push_back(to_bytes(std::as_bytes(std::span(text))));
  }
  return files;
}

struct Figures {
  double compress = 1e9, decompress = 1e9;
  std::size_t plain = 0, stored = 0, by_wal_codec = 0, pieces = 0;
};

Figures measure(const std::vector<Bytes>& files, CodecChoice choice) {
  Compressor compressor(choice);
  Decompressor decompressor;
  Bytes out(Compressor::bound(kPiece)), again(kPiece);
  Figures best;
  for (int pass = 0; pass < kPasses; ++pass) {
    Figures f{0, 0};
    for (const auto& file : files) {
      for (ByteView rest = file; !rest.empty();) {
        const auto piece = rest.first(std::min(rest.size(), kPiece));
        rest = rest.subspan(piece.size());
        const double start = cpu_ms();
        const auto stored = compressor.compress(piece, out);
        const double middle = cpu_ms();
        const auto bytes = stored.codec == CodecId::None ? piece : ByteView(out).first(stored.size);
        const auto to = MutableByteView(again).first(piece.size());
        const auto status = decompressor.decompress(stored.codec, bytes, to);
        f.decompress += cpu_ms() - middle;
        f.compress += middle - start;
        if (!status || !std::ranges::equal(to, piece)) {
          fmt::print("a piece came back different\n");
          std::exit(1);
        }
        f.plain += piece.size();
        f.stored += bytes.size();
        ++f.pieces;
        if (stored.codec == CodecId::WalZstd || stored.codec == CodecId::WalLz4) ++f.by_wal_codec;
      }
    }
    f.compress = std::min(f.compress, best.compress);
    f.decompress = std::min(f.decompress, best.decompress);
    best = f;
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  struct Mode {
    const char* name;
    CodecChoice choice;
    bool plain;
  };
  const std::array modes{Mode{"zstd 1", {CodecId::Zstd, 1}, true},         Mode{"balanced", {CodecId::WalZstd, 1}, false},
                         Mode{"trusted", {CodecId::WalZstd, 1, true}, false}, Mode{"small", {CodecId::WalZstd, 5}, false},
                         Mode{"lz4", {CodecId::Lz4, 0}, true},             Mode{"lz4 checked", {CodecId::WalLz4, 0}, false},
                         Mode{"fast, trusted", {CodecId::WalLz4, 0, true}, false}};
  std::array<Figures, modes.size()> sums{};
  for (auto& sum : sums) sum.compress = sum.decompress = 0;
  const auto print = [&](const char* what, const std::array<Figures, modes.size()>& all) {
    const Figures* plain = nullptr;
    for (std::size_t m = 0; m < modes.size(); ++m) {
      const auto& f = all[m];
      if (modes[m].plain) plain = &f;
      const double segments = static_cast<double>(f.plain) / (16 << 20);
      fmt::print("{:<14}{:<14}{:6.1f} {:6.1f} ms  ratio {:6.2f}  size {:4.2f}  time {:4.2f}  back {:4.2f}  {} of {} pieces\n", what, modes[m].name,
                 f.compress / segments, f.decompress / segments, static_cast<double>(f.plain) / static_cast<double>(f.stored),
                 static_cast<double>(f.stored) / static_cast<double>(plain->stored), f.compress / plain->compress,
                 f.decompress / plain->decompress, f.by_wal_codec, f.pieces);
    }
  };
  for (int i = 1; i < argc; ++i) {
    const auto files = read_all(argv[i]);
    std::array<Figures, modes.size()> all{};
    for (std::size_t m = 0; m < modes.size(); ++m) {
      all[m] = measure(files, modes[m].choice);
      auto& sum = sums[m];
      sum.compress += all[m].compress, sum.decompress += all[m].decompress;
      sum.plain += all[m].plain, sum.stored += all[m].stored, sum.by_wal_codec += all[m].by_wal_codec, sum.pieces += all[m].pieces;
    }
    print(std::filesystem::path(argv[i]).filename().c_str(), all);
  }
  if (argc > 2) print("all", sums);
}
