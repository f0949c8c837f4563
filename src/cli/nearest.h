// "Did you mean": the known word that is nearest to an unknown one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgmint::cli {

/// Insertions, deletions, substitutions and swaps of neighbours that lead from one to the other.
std::size_t edit_distance(std::string_view a, std::string_view b);
/// The nearest of `known`, the first of equals, or the only one that `word` begins; nullopt when nothing is near enough
/// to be what was meant.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace pgmint::cli
