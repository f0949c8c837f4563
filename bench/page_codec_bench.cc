// The codecs by relation: what one core compresses and decompresses in a second, and the ratio. Takes files of a data directory:
//
//   page_codec_bench [Google Benchmark's options] NAME=FILE[,FILE...]...
//
// Reads 8 MiB from up to four places of each relation, in extents of 256 KiB (or RECORD_PAGES=n), holds every byte that comes back
// against what went in, and reports MB/s (10^6) and `ratio`, plain through stored. Run from a release build on a quiet machine.
#include <benchmark/benchmark.h>

#include <fmt/format.h>

#include <time.h>

#include <cstdlib>
#include <fstream>

#include "codec/compression.h"

namespace pgmint {
namespace {

constexpr std::size_t kPage = 8192, kSlice = std::size_t{8} << 20;

std::size_t record_size() {
  const char* pages = std::getenv("RECORD_PAGES");
  return kPage * (pages == nullptr ? 32 : std::strtoul(pages, nullptr, 10));
}

/// SMALL=small:16 tries another level.
std::string small_mode() {
  const char* mode = std::getenv("SMALL");
  return mode == nullptr ? "small" : mode;
}

struct Relation {
  std::string name;
  std::vector<ByteView> records;
  Bytes data;
};

void read_slices(Bytes& data, const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    fmt::print(stderr, "{} cannot be read\n", path);
    std::exit(2);
  }
  const auto size = static_cast<std::size_t>(file.tellg()) / kPage * kPage;
  const std::size_t slices = std::min<std::size_t>(4, size / kSlice + 1);
  for (std::size_t i = 0; i < slices; ++i) {
    const std::size_t from = size / slices / kPage * kPage * i, length = std::min(kSlice, size - from);
    data.resize(data.size() + length);
    file.seekg(static_cast<std::streamoff>(from));
    file.read(reinterpret_cast<char*>(data.data() + data.size() - length), static_cast<std::streamsize>(length));
  }
}

Relation load(const std::string& argument) {
  const auto equals = argument.find('=');
  Relation relation{argument.substr(0, equals), {}, {}};
  for (std::size_t from = equals + 1; from <= argument.size();) {
    const auto comma = std::min(argument.find(',', from), argument.size());
    read_slices(relation.data, argument.substr(from, comma - from));
    from = comma + 1;
  }
  for (std::size_t at = 0; at < relation.data.size(); at += record_size())
    relation.records.push_back(ByteView(relation.data).subspan(at, std::min(record_size(), relation.data.size() - at)));
  return relation;
}

struct Stored {
  codec::CodecId codec;
  Bytes bytes;
};

std::vector<Stored> store(codec::Compressor& compressor, const Relation& relation) {
  std::vector<Stored> stored;
  Bytes out(codec::Compressor::bound(record_size()));
  for (const auto record : relation.records) {
    const auto output = compressor.compress(record, out);
    stored.push_back({output.codec, output.codec == codec::CodecId::None ? to_bytes(record) : to_bytes(ByteView(out).first(output.size))});
  }
  return stored;
}

void count(benchmark::State& state, const Relation& relation) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(relation.data.size()));
}

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void compress(benchmark::State& state, codec::CodecChoice choice, const Relation& relation) {
  codec::Compressor compressor(choice);
  Bytes out(codec::Compressor::bound(record_size()));
  Bytes hot(record_size());
  std::size_t stored = 0;
  for (auto _ : state) {
    stored = 0;
    double seconds = 0;
    for (const auto source : relation.records) {
      std::memcpy(hot.data(), source.data(), source.size());
      const auto record = ByteView(hot).first(source.size());
      const double started = cpu_seconds();
      const auto output = compressor.compress(record, out);
      seconds += cpu_seconds() - started;
      stored += output.codec == codec::CodecId::None ? record.size() : output.size;
    }
    state.SetIterationTime(seconds);
  }
  count(state, relation);
  state.counters["ratio"] = static_cast<double>(relation.data.size()) / static_cast<double>(stored);
}

void decompress(benchmark::State& state, codec::CodecChoice choice, const Relation& relation) {
  codec::Compressor compressor(choice);
  const auto stored = store(compressor, relation);
  codec::Decompressor decompressor;
  Bytes out(record_size());
  const auto all = [&](bool compare) {
    for (std::size_t i = 0; i < stored.size(); ++i) {
      const auto back = MutableByteView(out).first(relation.records[i].size());
      if (!decompressor.decompress(stored[i].codec, stored[i].bytes, back) ||
          (compare && std::memcmp(back.data(), relation.records[i].data(), back.size()) != 0))
        state.SkipWithError("the bytes did not come back");
    }
  };
  all(true);
  for (auto _ : state) all(false);
  count(state, relation);
}

void add(const Relation& relation) {
  const auto trusting = [](std::string_view mode) {
    auto choice = *codec::parse_codec(mode);
    choice.trusted = true;
    return choice;
  };
  const std::pair<const char*, codec::CodecChoice> modes[] = {
      {"zstd_1", *codec::parse_codec("zstd:1")}, {"lz4", *codec::parse_codec("lz4")},
      {"balanced", *codec::parse_codec("balanced")}, {"balanced_trusted", trusting("balanced")},
      {"fast", *codec::parse_codec("fast")}, {"fast_trusted", trusting("fast")}, {"small", *codec::parse_codec(small_mode())}};
  for (const auto& [mode, choice] : modes) {
    benchmark::RegisterBenchmark(fmt::format("compress/{}/{}", relation.name, mode).c_str(), compress, choice, std::cref(relation))->UseManualTime();
    benchmark::RegisterBenchmark(fmt::format("decompress/{}/{}", relation.name, mode).c_str(), decompress, choice, std::cref(relation));
  }
}

}  // namespace
}  // namespace pgmint

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::vector<pgmint::Relation> relations;
  for (int i = 1; i < argc; ++i) {
    if (std::strchr(argv[i], '=') == nullptr) {
      fmt::print(stderr, "usage: page_codec_bench [--benchmark_...] NAME=FILE[,FILE...]...\n");
      return 2;
    }
    relations.push_back(pgmint::load(argv[i]));
  }
  for (const auto& relation : relations) pgmint::add(relation);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
