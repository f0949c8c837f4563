#include "cli/nearest.h"

#include <algorithm>

namespace pgmint::cli {
namespace {

constexpr std::size_t kWordMax = 64;  // longer words are cut: the distance costs the product of the lengths
constexpr std::size_t kStemMin = 3;   // fewer letters begin too many words

/// The only known word that `word` begins, such as data_directory for data_dir: far away by letters, plain to people.
std::optional<std::string> completed(std::string_view word, const std::vector<std::string>& known) {
  if (word.size() < kStemMin) return std::nullopt;
  const auto begins = [&](const std::string& candidate) { return candidate.starts_with(word); };
  const auto found = std::ranges::find_if(known, begins);
  if (found == known.end() || std::any_of(found + 1, known.end(), begins)) return std::nullopt;
  return *found;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  a = a.substr(0, kWordMax);
  b = b.substr(0, kWordMax);
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = std::exchange(last, row);
  }
  return last[b.size()];
}

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known) {
  const std::string* best = nullptr;
  std::size_t best_distance = 0;
  for (const auto& candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (best == nullptr || distance < best_distance) {
      best = &candidate;
      best_distance = distance;
    }
  }
  // A third of the letters may differ; of a short word one or two.
  if (best == nullptr || best_distance > std::max<std::size_t>(2, word.size() / 3)) return completed(word, known);
  if (best_distance >= word.size()) return std::nullopt;
  return *best;
}

}  // namespace pgmint::cli
