// What the WAL codec makes of WAL segments: wal_codec_bench DIRECTORY_OR_FILE...
// CPU time of this thread, the lowest of several passes over all segments of an argument.
#include <fmt/format.h>
#include <time.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "codec/block_codec.h"
#include "codec/page_record.h"
#include "codec/wal_decoder.h"
#include "codec/wal_encoder.h"

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
Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
  return to_bytes(std::as_bytes(std::span(text)));
}
struct Spent {
  double transform = 0, pack = 0, images = 0, check = 0, plain = 0, lz4 = 0;
};
}  // namespace

int main(int argc, char** argv) {
  WalEncoder encoder;
  WalDecoder decoder;
  BlockCompressor zstd(BlockCodec::Zstd, 1), lz4(BlockCodec::Lz4, 0);
  auto residue = BlockCompressor::for_residue();
  PageRecordWriter pages(getenv("FULL") ? BlockCompressor(BlockCodec::Zstd, 1) : BlockCompressor::for_residue(), decode_and_compare()), fast_pages(BlockCodec::Lz4, 0, decode_and_compare());
  Bytes out(std::size_t{4} << 20), again(kPiece);
  for (int i = 1; i < argc; ++i) {
    std::vector<std::filesystem::path> files;
    if (std::filesystem::is_directory(argv[i]))
      for (const auto& entry : std::filesystem::directory_iterator(argv[i])) files.push_back(entry.path());
    else
      files.emplace_back(argv[i]);
    std::sort(files.begin(), files.end());
    std::vector<Bytes> segments;
    for (const auto& file : files) segments.push_back(read_file(file));
    Spent best{1e9, 1e9, 1e9, 1e9, 1e9, 1e9};
    double best_sum = 1e9, fast = 0, best_fast = 1e9;
    std::size_t fast_size = 0;
    std::size_t raw_size = 0, plain_size = 0, wal_size = 0, control = 0, control_packed = 0, raw = 0, rest = 0, rest_packed = 0, images = 0, images_packed = 0, given_up = 0, wrong = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
      Spent s;
      fast = 0;
      fast_size = 0;
      raw_size = plain_size = wal_size = control = control_packed = raw = rest = rest_packed = images = images_packed = given_up = wrong = 0;
      for (const auto& segment : segments) {
        for (std::size_t at = 0; at < segment.size(); at += kPiece) {
          const auto piece = ByteView(segment).subspan(at, kPiece);
          raw_size += piece.size();
          double t0 = cpu_ms();
          const auto streams = encoder.encode(piece, WalSums::Trust);
          double t1 = cpu_ms();
          s.transform += t1 - t0;
          std::size_t plain = zstd.compress(piece, out);
          double t2 = cpu_ms();
          s.plain += t2 - t1;
          plain_size += plain == 0 ? piece.size() : plain;
          lz4.compress(piece, out);
          double t3 = cpu_ms();
          s.lz4 += t3 - t2;
          if (!streams) {
            ++given_up;
            wal_size += plain;
            s.pack += t2 - t1;
            continue;
          }
          const auto pack = [&](ByteView stream) {
            const std::size_t n = residue.compress(stream, out);
            return n == 0 ? stream.size() : n;
          };
          const double t4 = cpu_ms();
          const std::size_t c = pack(streams->control), r = pack(streams->remainder);
          const double t5 = cpu_ms();
          s.pack += t5 - t4;
          std::size_t im = 0;
          if (!streams->images.empty()) {
            im = pages.write(streams->images, out);
            if (im == 0) im = pack(streams->images);
          }
          const double t6 = cpu_ms();
          for (const ByteView stream : {streams->control, streams->remainder}) {
            const std::size_t n = lz4.compress(stream, out);
            fast_size += n == 0 ? stream.size() : n;
          }
          if (!streams->images.empty()) fast_size += fast_pages.write(streams->images, out);
          fast_size += streams->raw.size() + 24;
          const double t7 = cpu_ms();
          fast += t7 - t6;
          s.images += t6 - t5;
          const auto status = decoder.decode(streams->control, streams->raw, streams->remainder, streams->images, MutableByteView(again).first(piece.size()));
          if (!status || std::memcmp(again.data(), piece.data(), piece.size()) != 0) ++wrong;
          if (!status && wrong == 1) fmt::print("{}\n", status.error().describe());
          s.check += cpu_ms() - t7;
          control += streams->control.size(), control_packed += c, raw += streams->raw.size(), rest += streams->remainder.size(), rest_packed += r, images += streams->images.size(), images_packed += im;
          wal_size += c + r + im + streams->raw.size() + 24;
        }
      }
      best_fast = std::min(best_fast, fast + s.transform + s.check);
      best.plain = std::min(best.plain, s.plain);
      best.lz4 = std::min(best.lz4, s.lz4);
      const double sum = s.transform + s.pack + s.images + s.check;
      if (sum < best_sum) {
        best_sum = sum;
        best.transform = s.transform, best.pack = s.pack, best.images = s.images, best.check = s.check;
      }
    }
    const double n = static_cast<double>(raw_size) / (16 << 20);
    fmt::print("{:<12} zstd {:5.1f} ms ratio {:6.2f} | wal {:5.1f} ms ratio {:6.2f} size {:4.2f} time {:4.2f} | transform {:4.1f} zstd {:4.1f} images {:4.1f} check {:4.1f} lz4 {:4.1f} fast {:4.1f} {:5.2f} | KB: control {}->{} raw {} rest {}->{} images {}->{} | given up {} wrong {}\n",
               std::filesystem::path(argv[i]).filename().string(), best.plain / n, double(raw_size) / double(plain_size), best_sum / n, double(raw_size) / double(wal_size),
               double(wal_size) / double(plain_size), best_sum / best.plain, best.transform / n, best.pack / n, best.images / n, best.check / n, best.lz4 / n, best_fast / n, double(raw_size) / double(fast_size), control >> 10, control_packed >> 10, raw >> 10,
               rest >> 10, rest_packed >> 10, images >> 10, images_packed >> 10, given_up, wrong);
  }
}
