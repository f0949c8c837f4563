// Numbers that are told of in runs, each with what is known of it. Pure. In memory it is as it was told: few pieces, however many numbers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>

namespace pgmint::repository {

/// @tparam Number  unsigned
/// @tparam History  equal ones of neighbours are kept once; a number of which nobody has told has none
template <class Number, class History>
class RunPieces {
 public:
  bool empty() const { return pieces_.empty(); }
  std::size_t size() const { return pieces_.size(); }

  /// nullptr: nobody has told of it.
  const History* find(Number number) const {
    auto piece = pieces_.upper_bound(number);
    if (piece == pieces_.begin()) return nullptr;
    --piece;
    return piece->second.last < number ? nullptr : &piece->second.history;
  }

  /// Every number from `first` to `last` is in a piece, whose history `change_history` changes; neighbours that are alike become one.
  template <class F>
  void change(Number first, Number last, F change_history) {
    split_at(first);
    split_behind(last);
    for (Number at = first;;) {
      auto piece = pieces_.lower_bound(at);
      if (piece == pieces_.end() || piece->first > at) {
        const auto until = piece == pieces_.end() ? last : std::min(last, static_cast<Number>(piece->first - 1));
        piece = pieces_.emplace_hint(piece, at, Piece{until, {}});
      }
      change_history(piece->second.history);
      if (piece->second.last >= last) break;
      at = piece->second.last + 1;
    }
    join(first, last);
  }

  /// All that there are.
  template <class F>
  void change_all(F change_history) {
    for (auto& [first, piece] : pieces_) change_history(piece.history);
  }

  void erase(Number first, Number last) {
    split_at(first);
    split_behind(last);
    pieces_.erase(pieces_.lower_bound(first), pieces_.upper_bound(last));
  }

 private:
  struct Piece {
    Number last = 0;
    History history;
  };

  /// No piece holds both `at` and the number before it.
  void split_at(Number at) {
    auto piece = pieces_.lower_bound(at);
    if (piece == pieces_.begin()) return;
    --piece;
    if (piece->second.last < at) return;
    pieces_.emplace_hint(std::next(piece), at, piece->second);
    piece->second.last = at - 1;
  }
  void split_behind(Number last) {
    if (last != std::numeric_limits<Number>::max()) split_at(static_cast<Number>(last + 1));
  }

  void join(Number first, Number last) {
    auto piece = pieces_.lower_bound(first);
    if (piece != pieces_.begin()) --piece;
    for (auto next = std::next(piece); next != pieces_.end() && (next->first <= last || next->first - 1 == last); next = std::next(piece)) {
      if (piece->second.last == next->first - 1 && piece->second.history == next->second.history) {
        piece->second.last = next->second.last;
        pieces_.erase(next);
      } else {
        piece = next;
      }
    }
  }

  std::map<Number, Piece> pieces_;  ///< by first number; they do not overlap
};

}  // namespace pgmint::repository
