// What a cluster of terabytes costs before the first page is read: incrementals with and without changes, the fold of a long log,
// expiry and collection. Everything but the contents of pages is real (src/backup/testing_scale.h). One line of JSON a measurement.
// Usage, from the root of the source: scale_bench [--tb N] [--file-kib N] [--change PARTS,...] [--full yes] [--backups N] [--pgmint PROGRAM]
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <sstream>

#include "backup/testing_scale.h"
#include "repository/testing_history.h"

namespace {

using namespace pgmint;
using backup::testing::ScaledCluster;
using backup::testing::Spread;

struct Usage {
  double cpu_s = 0, wall_s = 0;
  std::uint64_t read_bytes = 0, written_bytes = 0, peak_bytes = 0;
  int code = 0;
};

/// Bytes that this process and those that it waited for have read and written.
std::pair<std::uint64_t, std::uint64_t> io_so_far() {
  std::istringstream in{std::string(as_text(read_file("/proc/self/io", 1 << 16).value()))};
  std::map<std::string, std::uint64_t> fields;
  std::string name;
  std::uint64_t value = 0;
  while (in >> name >> value) fields[name] = value;
  return {fields["rchar:"], fields["wchar:"]};
}

double seconds(const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; }

/// Runs `work` in a process of its own and measures that: its peak is its alone.
Usage measure(const std::function<int()>& work) {
  std::fflush(nullptr);
  const auto io = io_so_far();
  const auto started = system_clock().now();
  const auto child = ::fork();
  PGMINT_ASSERT(child >= 0);
  if (child == 0) {
    const int code = work();
    std::fflush(nullptr);
    ::_exit(code);
  }
  int status = 0;
  rusage used{};
  PGMINT_ASSERT(::wait4(child, &status, 0, &used) == child);
  const auto now = io_so_far();
  return {seconds(used.ru_utime) + seconds(used.ru_stime), static_cast<double>((system_clock().now() - started).count()) / 1e6,
          now.first - io.first, now.second - io.second, static_cast<std::uint64_t>(used.ru_maxrss) * 1024,
          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
}

int code_of(const Status& status) {
  if (status) return 0;
  fmt::print(stderr, "{}\n", status.failure().describe());
  return 1;
}

struct Options {
  double tb = 10;
  std::uint64_t file_kib = 1 << 20;
  std::vector<double> changes{0.001};
  bool full = false;  ///< a real one as well, with the memory that production gives: every page is read and copied
  std::uint64_t backups = 0;
  std::string pgmint;  ///< empty: no command is run
};

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options), cluster_(shape_of(options), 1, start_of(options)) {}

  bool run() {
    report("full, made up", split([&](auto& opened) -> Status { return cluster_.make_full(opened); }, false));
    increment("nothing changed", 0, Spread::Uniform);
    if (options_.full) {
      cluster_.let_time_pass(kSegments);
      report("full", split([&](auto& opened) -> Status {
        const auto taken = TRY(cluster_.take(opened, backup::BackupRequest{.cluster = *opened.cluster, .data_directory = {}}.memory_max, false));
        fmt::print(stderr, "full: {} bytes read, {} stored, {} packs\n", taken.read_bytes, taken.stored_bytes, taken.packs);
        return ok();
      }));
    }
    // A small file that changed is held against the parent's bundle, whose contents are not there.
    if (cluster_.shape().file_size >= kExtent) {
      for (const auto change : options_.changes) increment("clustered", change, Spread::Clustered);
      for (const auto change : options_.changes) increment("uniform", change, Spread::Uniform);
    }
    if (options_.backups != 0) history();
    return whole_;
  }

 private:
  static backup::testing::ScaleShape shape_of(const Options& options) {
    backup::testing::ScaleShape shape;
    shape.file_size = options.file_kib << 10;
    shape.files = static_cast<std::uint64_t>(options.tb * 1024) * (1ULL << 30) / shape.file_size;
    shape.files_per_relation = shape.file_size < (1U << 30) ? 1 : 10;
    return shape;
  }
  /// So that the last backup is of now: the commands below go by the real time.
  static TimePoint start_of(const Options& options) {
    return std::chrono::floor<std::chrono::seconds>(system_clock().now()) - std::chrono::hours(6 * options.backups + 24);
  }

  Usage split(const std::function<Status(ScaledCluster::Opened&)>& work, bool durable = true) {
    const auto seed = ++processes_;
    return measure([&] {
      cluster_.reseed(seed);
      auto opened = cluster_.open(durable);
      return code_of(work(opened));
    });
  }

  void increment(const std::string& what, double change, Spread spread) {
    cluster_.let_time_pass(kSegments);
    const auto archived = split([&](auto& opened) -> Status {
      TRY(cluster_.archive_changes(opened, change, spread));
      return ok();
    }, false);
    whole_ = whole_ && archived.code == 0;
    report(what, split([&](auto& opened) -> Status {
      const auto taken = TRY(cluster_.take(opened, kPackMemory));
      if (taken.type != repository::BackupType::Incremental) return Error(Errc::Internal, taken.method);
      fmt::print(stderr, "{}, {} of the pages: {} stored, {} bytes read, {} stored\n", what, change, taken.changed_pages, taken.read_bytes, taken.stored_bytes);
      return ok();
    }), change);
  }

  /// Thousands of backups on top of the full, in the log and as objects; then the commands on them.
  void history() {
    repository::testing::HistoryShape shape;
    shape.backups = options_.backups;
    report("history, made up", split([&](auto& opened) -> Status {
      auto& store = *opened.store;
      repository::testing::History history(*opened.cluster, cluster_.random(), cluster_.clock(),
                                           [&](const repository::PackId& pack, std::uint64_t size) { store.make_hollow(repository::pack_name(opened.cluster->id(), pack), size); });
      return history.write(shape);
    }, false));
    report("fold", split([](auto&) { return ok(); }));
    if (options_.pgmint.empty()) return;
    const auto home = cluster_.repository_path().parent_path();
    PGMINT_ASSERT(write_file(home / "key", repository::encode_key_text(repository::KeyProvider::KeyFile, cluster_.key())));
    PGMINT_ASSERT(write_file(home / "pgmint.toml", fmt::format("repository = \"{}\"\nstate_directory = \"{}\"\n[encryption]\nkey_file = \"{}\"\n[cluster.main]\ndata_directory = \"/nowhere\"\n",
                                                               cluster_.repository_path().string(), (home / "state").string(), (home / "key").string())));
    command("list", {"list"});
    command("expire, planned", {"expire", "main", "--dry-run"});
    command("expire", {"expire", "main"});
    command("collect, planned", {"collect", "--dry-run"});
    command("collect", {"collect"});
    command("list, after", {"list"});
  }

  static bool write_file(const fs::path& path, const std::string& text) {
    auto fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    return fd && write_all(*fd, as_bytes(text), path.string());
  }

  void command(const std::string& what, std::vector<std::string> words) {
    const auto config = (cluster_.repository_path().parent_path() / "pgmint.toml").string();
    const auto log = (cluster_.repository_path().parent_path() / "output").string();
    report(what, measure([&] {
      std::freopen(log.c_str(), "w", stdout);
      ::setenv("PGMINT_CONFIG", config.c_str(), 1);
      std::vector<char*> arguments{options_.pgmint.data()};
      for (auto& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      ::execv(options_.pgmint.c_str(), arguments.data());
      return 127;
    }));
    const auto said = read_file(log, 16 << 20).value();
    const auto lines = as_text(said);
    fmt::print(stderr, "{}: {} lines, {}\n", what, std::ranges::count(lines, '\n'), lines.substr(0, lines.find('\n')));
  }

  void report(const std::string& what, const Usage& usage, double change = 0) {
    whole_ = whole_ && usage.code == 0;
    fmt::print("{{\"what\": \"{}\", \"tb\": {}, \"files\": {}, \"change\": {}, \"backups\": {}, \"cpu_s\": {:.3f}, \"wall_s\": {:.3f}, \"read_bytes\": {}, \"written_bytes\": {}, "
               "\"peak_bytes\": {}, \"exit\": {}}}\n",
               what, options_.tb, cluster_.shape().files, change, options_.backups, usage.cpu_s, usage.wall_s, usage.read_bytes, usage.written_bytes, usage.peak_bytes,
               usage.code);
    std::fflush(stdout);
  }

  static constexpr std::uint64_t kExtent = 256U << 10;
  static constexpr std::uint64_t kSegments = 100;  ///< of WAL between two backups: their summaries are read
  static constexpr ByteCount kPackMemory{64U << 20};

  Options options_;
  ScaledCluster cluster_;
  std::uint64_t processes_ = 1;
  bool whole_ = true;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--tb") options.tb = std::stod(value);
    else if (name == "--file-kib") options.file_kib = std::stoull(value);
    else if (name == "--full") options.full = value == "yes";
    else if (name == "--backups") options.backups = std::stoull(value);
    else if (name == "--pgmint") options.pgmint = value;
    else if (name == "--change") {
      options.changes.clear();
      std::istringstream parts(value);
      for (std::string part; std::getline(parts, part, ',');) options.changes.push_back(std::stod(part));
    } else {
      fmt::print(stderr, "scale_bench: {} is no option\n", name);
      return 2;
    }
  }
  return Bench(options).run() ? 0 : 1;
}
