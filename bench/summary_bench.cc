// What the change summary of a segment costs, against the whole of `wal push`: summary_bench [--benchmark_...] DIRECTORY...
// DIRECTORY holds segments, as wal_segments.sh leaves them. Counters of a directory, each the lowest of all passes: milliseconds of
// CPU a segment for the summary (reading the WAL, and writing the summary down) and for the push (in this process, without its start; into a
// repository in the directory for temporary files), and the one as a part of the other.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>

#include <algorithm>

#include "base/file.h"
#include "codec/compression.h"
#include "postgres/wal_summary.h"
#include "repository/testing_repository.h"
#include "storage/posix_store.h"
#include "storage/temporary_directory.h"
#include "wal/push.h"

namespace {

using namespace pgmint;

constexpr std::size_t kPiece = 256 << 10;  // as WalArchive asks for them
constexpr int kPasses = 7;

/// Of this process: a push may use more than one thread.
double cpu_ms() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

template <class T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "{}\n", result.failure().describe());
  std::exit(1);
}

/// Reading and compressing the file are not counted: a push does that whether or not it summarises. What the codec found out about checksums
/// is passed on, as a push does.
double summary_ms(const wal::PushSource& source) {
  const auto fd = must(open_file(source.path, O_RDONLY));
  Bytes piece(kPiece), packed(codec::Compressor::bound(kPiece));
  codec::Compressor compressor(codec::wal_codec(must(codec::parse_codec("balanced"))));
  postgres::SegmentSummarizer summarizer(source.name.timeline, source.name.segment, source.segment_size);
  double sum = 0;
  for (std::uint64_t at = 0; at < source.segment_size.bytes(); at += kPiece) {
    must(read_at(fd, piece, at, source.path.string()));
    const auto proven = compressor.compress(piece, packed).proven;
    const double start = cpu_ms();
    summarizer.feed(piece, proven);
    sum += cpu_ms() - start;
  }
  const double start = cpu_ms();
  const auto encoded = postgres::encode_summary(std::move(summarizer).finish());
  benchmark::DoNotOptimize(encoded.data());
  return sum + cpu_ms() - start;
}

double push_ms(repository::testing::TestRepository& repository, const wal::PushSource& source) {
  wal::PushRequest request;
  request.source = source;
  request.codec = must(codec::parse_codec("balanced"));
  request.ahead_max = 0;
  request.workers = 1;
  const double start = cpu_ms();
  const auto report = must(wal::push(*repository.cluster, {source.system_identifier.value(), repository::Incarnation(1)}, request));
  const double spent = cpu_ms() - start;
  if (report.outcome == repository::WalPut::Stored) return spent;
  fmt::print(stderr, "{}: two segments of one name\n", source.path.string());
  std::exit(1);
}

std::vector<wal::PushSource> segments_of(const fs::path& directory) {
  std::vector<wal::PushSource> sources;
  for (const auto& entry : fs::directory_iterator(directory)) sources.push_back(must(wal::inspect(fs::absolute(entry.path()).string())));
  return sources;
}

void summary_and_push(benchmark::State& state, const fs::path& directory) {
  const auto sources = segments_of(directory);
  double summaries = 1e9, pushes = 1e9;
  for (auto _ : state) {
    storage::TemporaryDirectory place;
    const auto store = must(storage::open_posix_store(place.path(), {}));
    repository::testing::TestRepository repository(*store);
    double summary = 0, push = 0;
    for (const auto& source : sources) {
      push += push_ms(repository, source);
      summary += summary_ms(source);
    }
    summaries = std::min(summaries, summary);
    pushes = std::min(pushes, push);
    state.SetIterationTime(push / 1e3);
  }
  const auto count = static_cast<double>(sources.size());
  state.counters["segments"] = count;
  state.counters["summary_ms"] = summaries / count;
  state.counters["push_ms"] = pushes / count;
  state.counters["percent"] = 100 * summaries / pushes;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i)
    benchmark::RegisterBenchmark(fs::path(argv[i]).filename().c_str(), summary_and_push, fs::path(argv[i]))->Iterations(kPasses)->UseManualTime()->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();
}
