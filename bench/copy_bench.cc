// How fast a data directory goes through the copy of a full backup: read, page check, compress, seal, pack, put.
// Usage: copy_bench DATA_DIRECTORY [STORE_DIRECTORY|none] [workers] [extent KiB] [codec]
// The directory may belong to a stopped or an idle server; nothing is asked of it. With "none" packs are dropped.
#include <fmt/format.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

#include "backup/copy.h"
#include "base/units.h"
#include "crypto/hash.h"
#include "postgres/control_file.h"
#include "repository/layout.h"
#include "repository/testing_keys.h"
#include "storage/posix_store.h"

namespace {

using namespace pgmint;

double seconds(const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; }

Status bench(const std::string& data, const std::string& store_path, unsigned workers, std::uint32_t extent,
             codec::CodecChoice codec) {
  SeededRandom seeded(1);
  const auto context = repository::testing::make_context(seeded);
  const auto keys = repository::testing::make_cluster_keys(seeded);
  const auto session = seeded.id<repository::SessionId>();
  const auto control = TRY(postgres::read_control_file(data)).control;
  std::unique_ptr<storage::BlobStore> store;
  if (store_path != "none") {
    TRY(create_directories(store_path, 0700));
    store = TRY(storage::open_posix_store(store_path, {}));
  }

  std::atomic<std::uint32_t> next{0};
  repository::PackBuffers buffers;
  std::atomic<std::uint64_t> stored{0}, packs_put{0};
  const repository::PackSettings packs{context, keys, codec, system_random(),
                                   [&] { return repository::PackId{session, next.fetch_add(1)}; }, buffers, repository::kPackTarget};
  auto upload = [&](repository::FinishedPack pack) -> Status {
    // As a session does: the log names each pack by its hash.
    static_cast<void>(crypto::sha256(pack.data));  // the digest itself is of no interest here
    if (store) TRY(store->create(repository::pack_name(context.cluster, pack.id), pack.data));
    stored += pack.data.size();
    ++packs_put;
    buffers.give(std::move(pack.data));
    return ok();
  };
  repository::PackStream maps(packs, repository::PackKind::Map, upload);
  const auto started = system_clock().now();
  const auto scan = TRY(postgres::scan_data_directory(data));
  const auto plan = backup::plan_copy(scan, {.extent_size = extent, .stretch = 16U << 20, .bundle_size = 512U << 10});
  const auto source = backup::open_source(data);
  backup::CopyCounters counters;
  backup::PageFindings findings;
  const backup::CopyInput input{
      .scan = scan,
      .plan = plan,
      .source = *source,
      .packs = packs,
      .maps = maps,
      .upload = upload,
      .check = {.checksums_enabled = control.checksums_enabled(), .block_size = control.block_size, .backup_start = postgres::Lsn(~std::uint64_t{0} - 1)},
      .blocks_per_segment = control.relation_segment_blocks,
      .upper_lsn = [&]() -> Result<postgres::Lsn> { return control.checkpoint; },
      .extent_size = extent,
      .workers = workers,
      .clock = system_clock()};
  TRY(backup::copy_files(input, counters, findings, [] { return ok(); }));
  TRY(maps.close());
  const double wall = static_cast<double>((system_clock().now() - started).count()) / 1e6;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const double cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  const auto bytes = static_cast<double>(plan.total_bytes);
  fmt::print("{} in {:.2f} s wall, {:.2f} s CPU (user {:.2f}, system {:.2f}): {:.0f} MB/s, {:.0f} MB per CPU second\n",
             human(ByteCount(plan.total_bytes)), wall, cpu, seconds(usage.ru_utime), seconds(usage.ru_stime), bytes / wall / 1e6,
             bytes / cpu / 1e6);
  fmt::print("stored {} bytes in {} packs, ratio {:.3f}; {} pages checked, {} bad; zeros {}; peak memory {}\n", stored.load(), packs_put.load(),
             bytes / static_cast<double>(stored.load()), findings.checked.load(), findings.bad.load(),
             human(ByteCount(counters.zero_bytes)), human(ByteCount(static_cast<std::uint64_t>(usage.ru_maxrss) * 1024)));
  return ok();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: copy_bench DATA_DIRECTORY [STORE_DIRECTORY|none] [workers] [extent KiB] [codec]\n");
    return 2;
  }
  auto codec = codec::parse_codec(argc > 5 ? argv[5] : "zstd:1");
  if (!codec) return 2;
  const auto status = bench(argv[1], argc > 2 ? argv[2] : "none", argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 2,
                            (argc > 4 ? static_cast<std::uint32_t>(std::atoi(argv[4])) : 256U) << 10, *codec);
  if (!status) fmt::print(stderr, "{}\n", status.failure().describe());
  return status ? 0 : 1;
}
