// The configuration file: any bytes are a configuration that keeps its promises, or Errc::Configuration.
#include "cli/config.h"
#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  const auto parsed = cli::parse_configuration(as_text(fuzz_input(data, size)), "fuzz.toml");
  if (!parsed) {
    PGMINT_ASSERT(parsed.error().code() == Errc::Configuration);
    PGMINT_ASSERT(parsed.error().message().starts_with("fuzz.toml"));
    return 0;
  }
  for (const auto& cluster : parsed->clusters) {
    PGMINT_ASSERT(!cluster.name.empty() && cluster.data_directory.is_absolute());
    PGMINT_ASSERT(parsed->find_cluster(cluster.name) == &cluster);
  }
  for (const auto& repository : parsed->repositories) {
    PGMINT_ASSERT(!repository.name.empty() && !repository.url.empty());
    if (const auto directory = repository.directory()) PGMINT_ASSERT(directory->is_absolute());
  }
  return 0;
}
