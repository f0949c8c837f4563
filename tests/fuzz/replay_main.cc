// Runs one fuzz target over its corpus and over seeded mutations of it: what libFuzzer found once stays found, and an
// ordinary test run still looks a little beyond it. Usage: fuzz_<name> CORPUS_DIRECTORY_OR_FILE...
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "base/test_seed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace pgmint {
namespace {

constexpr int kMutations = 4000;
constexpr std::uint64_t kInputMax = 1 << 20;
/// Values that sit at the edges of lengths, counts and varints.
constexpr std::uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0xfe, 0xff};

// What is being run, for the handler below: it may call nothing that allocates.
const std::uint8_t* current_data = nullptr;
std::size_t current_size = 0;

void print_input_and_die(int signal_number) {
  static constexpr char kDigits[] = "0123456789abcdef";
  static constexpr char kIntroduction[] = "\nthe failing input, in hexadecimal (at most 4096 bytes of it):\n";
  char text[2 * 4096 + 1];
  std::size_t n = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(current_size, 4096); ++i) {
    text[n++] = kDigits[current_data[i] >> 4];
    text[n++] = kDigits[current_data[i] & 15];
  }
  text[n++] = '\n';
  if (::write(STDERR_FILENO, kIntroduction, sizeof kIntroduction - 1) >= 0 && ::write(STDERR_FILENO, text, n) >= 0) {
    ::fsync(STDERR_FILENO);
  }
  ::signal(signal_number, SIG_DFL);
  ::raise(signal_number);
}

void run(ByteView input) {
  // A copy of the exact size on the heap, so that asan sees a read one byte past it.
  const std::unique_ptr<std::uint8_t[]> copy(new std::uint8_t[input.size()]);
  std::transform(input.begin(), input.end(), copy.get(), [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
  current_data = copy.get();
  current_size = input.size();
  if (LLVMFuzzerTestOneInput(copy.get(), input.size()) != 0) std::abort();
  current_size = 0;
}

void mutate_once(Bytes& bytes, const std::vector<Bytes>& corpus, SeededRandom& random) {
  const auto any_byte = [&] {
    return random.below(2) == 0 ? static_cast<std::byte>(kEdges[random.below(std::size(kEdges))])
                                : static_cast<std::byte>(random.next());
  };
  const auto place = [&](std::size_t within) { return static_cast<std::ptrdiff_t>(random.below(within)); };
  if (bytes.empty()) return bytes.push_back(any_byte());
  const auto at = bytes.begin() + place(bytes.size());
  const auto run_length = place(std::min<std::size_t>(static_cast<std::size_t>(bytes.end() - at), 16)) + 1;
  switch (random.below(8)) {
    case 0:
      *at ^= static_cast<std::byte>(1 << random.below(8));
      break;
    case 1:
      *at = any_byte();
      break;
    case 2:
      bytes.insert(at, any_byte());
      break;
    case 3:
      bytes.erase(at, at + run_length);
      break;
    case 4:
      bytes.erase(at, bytes.end());
      break;
    case 5:
      std::fill(at, at + run_length, any_byte());
      break;
    case 6: {
      const Bytes repeated(at, at + run_length);
      bytes.insert(at, repeated.begin(), repeated.end());
      break;
    }
    default: {  // the head of this one, the tail of another
      const Bytes& other = corpus[random.below(corpus.size())];
      bytes.erase(at, bytes.end());
      if (!other.empty()) bytes.insert(bytes.end(), other.begin() + place(other.size()), other.end());
    }
  }
}

Result<std::vector<Bytes>> load(std::span<char*> paths) {
  std::vector<fs::path> files;
  for (const fs::path path : paths) {
    if (!fs::is_directory(path))
      files.push_back(path);
    else
      for (const auto& entry : fs::directory_iterator(path)) files.push_back(entry.path());
  }
  std::ranges::sort(files);  // the same seed must meet the same corpus
  std::vector<Bytes> corpus;
  for (const auto& file : files) corpus.push_back(TRY(read_file(file, kInputMax)));
  if (corpus.empty()) return Error(Errc::Usage, "no corpus: name a directory or files");
  return corpus;
}

int replay(std::span<char*> paths) {
  const auto corpus = load(paths);
  if (!corpus) {
    fmt::print(stderr, "{}\n", corpus.error().describe());
    return exit_code(corpus.error().code());
  }
  for (const auto& input : *corpus) run(input);
  run({});
  const std::uint64_t seed = test_seed();
  fmt::print("{} inputs pass; {} mutations of them from PGMINT_TEST_SEED={}\n", corpus->size(), kMutations, seed);
  std::fflush(stdout);
  SeededRandom random(seed);
  for (int i = 0; i < kMutations; ++i) {
    Bytes input = (*corpus)[random.below(corpus->size())];
    for (std::uint64_t n = 1 + random.below(4); n > 0; --n) mutate_once(input, *corpus, random);
    run(input);
  }
  return 0;
}

}  // namespace
}  // namespace pgmint

int main(int argc, char** argv) {
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(number, pgmint::print_input_and_die);
  return pgmint::replay(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
}
