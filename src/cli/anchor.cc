#include "cli/anchor.h"

#include <fmt/format.h>

#include <charconv>
#include <sstream>

#include "repository/layout.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kWord = "pgmint-anchor-1";

template <class Number>
bool parse_whole(const std::string& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<Anchor> parse_anchor(const std::string& line) {
  std::istringstream in(line);
  std::string word, generation, seq, hash, time;
  Anchor anchor;
  if (!(in >> word >> anchor.repository >> anchor.cluster >> generation >> seq >> hash >> time >> anchor.name) || word != kWord) return std::nullopt;
  const auto bytes = from_hex(hash);
  const auto moment = parse_time(time);
  if (!bytes || bytes->size() != anchor.hash.size() || !moment || !parse_whole(generation, anchor.generation) || !parse_whole(seq, anchor.seq)) return std::nullopt;
  std::ranges::copy(*bytes, anchor.hash.begin());
  anchor.time = *moment;
  return anchor;
}

}  // namespace

Anchor anchor_of(repository::Repository& repository, const repository::Cluster& cluster) {
  const auto& state = cluster.state();
  return {repository.format().repository.hex(), cluster.id().hex(), state.cluster_name(), state.generation(), state.next_seq() - 1, state.head(),
          repository.environment().clock.now()};
}

std::string format(const Anchor& anchor) {
  return fmt::format("{} {} {} {} {} {} {} {}", kWord, anchor.repository, anchor.cluster, anchor.generation, anchor.seq, to_hex(anchor.hash), format_rfc3339(anchor.time),
                     anchor.name);
}

Result<std::vector<Anchor>> parse_anchors(std::string_view text, const std::string& source) {
  std::vector<Anchor> anchors;
  std::istringstream in{std::string(text)};
  std::size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.empty()) continue;
    auto anchor = parse_anchor(line);
    if (!anchor) return Error(Errc::Usage, fmt::format("{}:{}: no line of pgmint audit anchor", source, number));
    anchors.push_back(std::move(*anchor));
  }
  if (anchors.empty()) return Error(Errc::Usage, fmt::format("{} holds no anchor", source), Hint{fmt::format("pgmint audit anchor --append {}", source)});
  return anchors;
}

Result<std::string> disagreement(repository::Repository& repository, const Anchor& anchor) {
  if (anchor.repository != repository.format().repository.hex()) return fmt::format("it is of another repository, {}", anchor.repository);
  const auto id = repository::ClusterId::parse(anchor.cluster);
  if (!id) return fmt::format("\"{}\" is no cluster", anchor.cluster);
  auto& store = repository.environment().store;
  const auto object = TRY(store.read(repository::log_entry_name(*id, anchor.generation, anchor.seq), repository::kLogEntryMax));
  if (!object) return fmt::format("entry {} of generation {} is gone", anchor.seq, anchor.generation);
  if (crypto::sha256(*object) != anchor.hash) return fmt::format("entry {} of generation {} is another one now", anchor.seq, anchor.generation);
  return std::string();
}

}  // namespace pgmint::cli
