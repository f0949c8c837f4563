// What one core does per second in each step of the pipeline that touches every byte: seal, open, fingerprint, hash,
// compress, decompress, checksum. Run from a release build, on a quiet machine.
#include <benchmark/benchmark.h>

#include "base/random.h"
#include "codec/compression.h"
#include "codec/crc32c.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/signature.h"

namespace pgmint {
namespace {

constexpr std::size_t kPage = 8192;

Bytes noise(std::size_t size) {
  SeededRandom random(1);
  Bytes bytes(size);
  random.fill(bytes);
  return bytes;
}

/// Pages that look like a heap: header and line pointers in front, tuples from the end, each with a header whose fields
/// differ little from its neighbour's, then numbers, a timestamp and some text. About as compressible as a table of
/// accounts (zstd-1 makes a third to a quarter of it).
Bytes heap_pages(std::size_t size) {
  static constexpr std::string_view kWords[] = {"groceries", "salary", "rent", "transfer", "card payment", "refund"};
  SeededRandom random(2);
  Bytes pages(size);
  std::uint32_t xmin = 700'000;
  for (std::size_t page = 0; page + kPage <= size; page += kPage) {
    const auto put = [&](std::size_t at, auto value) { std::memcpy(pages.data() + page + at, &value, sizeof value); };
    put(0, std::uint64_t{0x1'0000'0000 + page * 37});  // pd_lsn
    std::size_t lower = 24, upper = kPage;
    for (std::uint16_t item = 1; upper - lower > 120; ++item) {
      const std::string_view word = kWords[random.below(std::size(kWords))];
      const std::size_t length = (23 + 1 + 8 + 4 + 8 + 8 + word.size() + 7) / 8 * 8;
      upper -= length;
      put(upper, xmin += static_cast<std::uint32_t>(random.below(3)));
      put(upper + 12, static_cast<std::uint32_t>(page / kPage));  // t_ctid
      put(upper + 16, item);
      put(upper + 18, std::uint32_t{0x0902'0006});
      put(upper + 24, std::uint64_t{page + item});
      put(upper + 32, static_cast<std::uint32_t>(random.below(10'000)));
      put(upper + 36, std::uint64_t{random.below(500'000)});
      put(upper + 44, std::uint64_t{800'000'000'000'000 + random.below(86'400'000'000)});
      std::memcpy(pages.data() + page + upper + 52, word.data(), word.size());
      put(lower, static_cast<std::uint32_t>(upper | length << 17 | 1 << 15));
      lower += 4;
    }
    put(12, static_cast<std::uint16_t>(lower));
    put(14, static_cast<std::uint16_t>(upper));
  }
  return pages;
}

void count_bytes(benchmark::State& state, std::size_t per_iteration) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(per_iteration));
}

crypto::Key256 key() {
  SeededRandom random(3);
  return crypto::Key256::generate(random);
}

void seal(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  crypto::Aead aead(key());
  const Bytes aad(64), plain = noise(size);
  Bytes out(size + crypto::kTagSize);
  crypto::Nonce nonce{};
  for (auto _ : state) {
    system_random().fill(nonce);  // as every record does
    aead.seal(nonce, aad, plain, out);
    benchmark::DoNotOptimize(out.data());
  }
  count_bytes(state, size);
}
BENCHMARK(seal)->Arg(0)->Arg(kPage)->Arg(32 * kPage);

void open(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  crypto::Aead aead(key());
  const Bytes aad(64), plain = noise(size);
  Bytes sealed(size + crypto::kTagSize), out(size);
  const crypto::Nonce nonce{};
  aead.seal(nonce, aad, plain, sealed);
  for (auto _ : state) {
    if (!aead.open(nonce, aad, sealed, out)) state.SkipWithError("not authentic");
    benchmark::DoNotOptimize(out.data());
  }
  count_bytes(state, size);
}
BENCHMARK(open)->Arg(kPage)->Arg(32 * kPage);

void gmac(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  crypto::Gmac mac(key());
  const Bytes data = noise(size);
  const crypto::Nonce nonce{};
  for (auto _ : state) benchmark::DoNotOptimize(mac.compute(nonce, data));
  count_bytes(state, size);
}
BENCHMARK(gmac)->Arg(kPage)->Arg(32 * kPage);

void sha256(benchmark::State& state) {
  const Bytes data = noise(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(crypto::sha256(data));
  count_bytes(state, data.size());
}
BENCHMARK(sha256)->Arg(64)->Arg(32 * kPage);

void hmac_sha256(benchmark::State& state) {
  const Bytes data = noise(static_cast<std::size_t>(state.range(0)));
  const auto mac_key = key();
  for (auto _ : state) benchmark::DoNotOptimize(crypto::hmac_sha256(mac_key, data));
  count_bytes(state, data.size());
}
BENCHMARK(hmac_sha256)->Arg(64)->Arg(16 << 20);

void derive_key(benchmark::State& state) {
  const auto from = key();
  for (auto _ : state) benchmark::DoNotOptimize(crypto::derive_key(from, "purpose"));
}
BENCHMARK(derive_key);

void sign(benchmark::State& state) {
  const crypto::SigningKey signer(key());
  const Bytes message = noise(500);
  for (auto _ : state) benchmark::DoNotOptimize(signer.sign(message));
}
BENCHMARK(sign);

void verify_signature(benchmark::State& state) {
  const crypto::SigningKey signer(key());
  const Bytes message = noise(500);
  const auto signature = signer.sign(message);
  for (auto _ : state) benchmark::DoNotOptimize(crypto::verify_signature(signer.public_key(), message, signature));
}
BENCHMARK(verify_signature);

void scrypt_default_cost(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(crypto::scrypt("passphrase", as_bytes("salt"), {}));
}
BENCHMARK(scrypt_default_cost)->Unit(benchmark::kMillisecond)->Iterations(2);

void compress(benchmark::State& state, codec::CodecChoice choice, const Bytes& plain, std::size_t record) {
  codec::Compressor compressor(choice);
  Bytes out(codec::Compressor::bound(record));
  std::size_t stored = 0;
  for (auto _ : state) {
    stored = 0;
    for (std::size_t at = 0; at < plain.size(); at += record) {
      const auto output = compressor.compress(ByteView(plain).subspan(at, record), out);
      stored += output.codec == codec::CodecId::None ? record : output.size;
    }
  }
  count_bytes(state, plain.size());
  state.counters["stored"] = static_cast<double>(stored) / static_cast<double>(plain.size());
}

void decompress(benchmark::State& state, codec::CodecChoice choice, const Bytes& plain, std::size_t record) {
  codec::Compressor compressor(choice);
  Bytes stored(codec::Compressor::bound(record)), out(record);
  const auto output = compressor.compress(ByteView(plain).first(record), stored);
  codec::Decompressor decompressor;
  for (auto _ : state) {
    if (!decompressor.decompress(output.codec, ByteView(stored).first(output.size), out))
      state.SkipWithError("damaged");
  }
  count_bytes(state, record);
}

const Bytes kHeap = heap_pages(std::size_t{512} * kPage);
const Bytes kNoise = noise(std::size_t{512} * kPage);
constexpr codec::CodecChoice kZstd1{codec::CodecId::Zstd, 1}, kZstd3{codec::CodecId::Zstd, 3},
    kLz4{codec::CodecId::Lz4, 0};

BENCHMARK_CAPTURE(compress, zstd1_heap_128k, kZstd1, kHeap, 16 * kPage);
BENCHMARK_CAPTURE(compress, zstd1_heap_256k, kZstd1, kHeap, 32 * kPage);
BENCHMARK_CAPTURE(compress, zstd1_heap_8k, kZstd1, kHeap, kPage);
BENCHMARK_CAPTURE(compress, zstd3_heap_128k, kZstd3, kHeap, 16 * kPage);
BENCHMARK_CAPTURE(compress, lz4_heap_128k, kLz4, kHeap, 16 * kPage);
BENCHMARK_CAPTURE(compress, zstd1_noise_128k, kZstd1, kNoise, 16 * kPage);
BENCHMARK_CAPTURE(compress, lz4_noise_128k, kLz4, kNoise, 16 * kPage);
BENCHMARK_CAPTURE(decompress, zstd1_heap_128k, kZstd1, kHeap, 16 * kPage);
BENCHMARK_CAPTURE(decompress, lz4_heap_128k, kLz4, kHeap, 16 * kPage);

void crc32c(benchmark::State& state) {
  const Bytes data = noise(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(codec::crc32c(data));
  count_bytes(state, data.size());
}
BENCHMARK(crc32c)->Arg(kPage)->Arg(32 * kPage);

void crc32c_portable(benchmark::State& state) {
  const Bytes data = noise(32 * kPage);
  for (auto _ : state) benchmark::DoNotOptimize(codec::crc32c_portable(data));
  count_bytes(state, data.size());
}
BENCHMARK(crc32c_portable);

}  // namespace
}  // namespace pgmint
