// The input is the opened body of a log entry. What parses is written back to something that parses to the same bytes again, and
// the fold takes it or refuses it.
#include "fuzz_input.h"
#include "repository/log_content.h"
#include "repository/log_state.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::repository;
  LogEntry entry;
  const auto parsed = parse_body(fuzz_input(data, size), entry);
  if (!parsed) {
    PGMINT_ASSERT(parsed.error().code() == Errc::Corruption || parsed.error().code() == Errc::Precondition);
    return 0;
  }
  const auto written = encode_body(entry);
  LogEntry again;
  const auto parsed_again = parse_body(written, again);
  PGMINT_ASSERT(parsed_again.has_value() && encode_body(again) == written);

  // Signed by the root of format, in the place where it would be due: any content meets the rules, none ends the program.
  LogState state(entry.actor);
  GenesisEntry genesis;
  genesis.cluster_name = "main";
  genesis.root_key = entry.actor;
  LogEntry first;
  first.actor = entry.actor;
  first.content = genesis;
  PGMINT_ASSERT(state.apply(first).has_value());
  state.advance(0, {});
  entry.generation = 0;
  entry.seq = 1;
  entry.previous = state.head();
  const auto applied = state.apply(entry);
  PGMINT_ASSERT(applied.has_value() || applied.error().code() == Errc::Precondition);
  return 0;
}
