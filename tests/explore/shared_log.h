// The log that the explored actors share: the production fold, and what a fold without some rule would add to it.
#pragma once

#include <map>
#include <memory>

#include "explore/log_explorer.h"
#include "repository/log_fixture.h"

namespace pgmint::explore {

using namespace repository;

/// Packs of the small world by number: 0 and 1 are the base snapshot's, 2 + i is writer i's.
using PackMask = std::uint32_t;
constexpr unsigned kBaseSession = 1;
constexpr unsigned kFirstWriter = 2;
constexpr unsigned kFirstReader = 8;
constexpr PackMask kBasePacks = 0b11;
inline PackId pack_of(unsigned number) {
  return number < 2 ? pack_id(kBaseSession, number) : pack_id(kFirstWriter + number - 2, 0);
}
inline unsigned session_of(unsigned pack) { return pack < 2 ? kBaseSession : kFirstWriter + pack - 2; }

/// An entry in short: what an actor holds between validating and putting it.
struct Draft {
  EntryKind kind{};
  unsigned session = 0;
  PackMask packs = 0;  ///< PURGE
  std::uint64_t lsn = 0;  ///< FLOOR
  bool window = false;    ///< FLOOR: the window floor
};

/// Immutable once made; states share it.
class SharedLog {
 public:
  explicit SharedLog(const Configuration& configuration);

  /// The log with one more entry, void or not. `accepted`: whether it took effect (for a fold without `rule`).
  std::shared_ptr<const SharedLog> append(const Draft& draft, LeftOut rule, bool retain_is_over, bool& accepted) const;
  bool would_accept(const Draft& draft, LeftOut rule, bool retain_is_over) const;
  /// As if the last entry had never been (LeftOut::SlotsAreImmutable).
  const std::shared_ptr<const SharedLog>& before_last() const { return before_last_; }
  void forget_history() { before_last_.reset(); }
  void set_before(std::shared_ptr<const SharedLog> log) { before_last_ = std::move(log); }

  bool is_live(unsigned session) const;
  bool is_held(unsigned session) const;
  std::vector<unsigned> live() const;
  PackMask packs_of(unsigned live_session) const;
  bool is_open(unsigned session) const;
  std::vector<unsigned> open() const;
  PackMask pins_of(unsigned open_session) const;
  bool was_seen(unsigned session) const;
  bool is_aborted(unsigned session) const;
  bool is_closed_by_snap(unsigned session) const;
  bool is_purged(unsigned pack) const { return ((purged_ >> pack) & 1) != 0; }
  /// What a PURGE without `rule` has to leave alone.
  PackMask needed(LeftOut rule) const;
  std::uint64_t floor() const { return floor_; }
  std::uint64_t window_floor() const { return window_floor_; }
  /// The window floor has passed what it reads or builds on since it began.
  bool is_cut_off(unsigned session) const { return ((cut_off_ >> session) & 1) != 0; }
  /// It was not live while the window floor was above its start: whoever deletes WAL by what the log says may have deleted its own.
  bool may_have_lost_wal(unsigned session) const { return ((thinned_ >> session) & 1) != 0; }
  /// The start LSN that a floor must not pass.
  std::uint64_t lowest_start() const;
  std::uint64_t start_of(unsigned session) const { return 1000 * session; }
  bool two_live_of_one_name() const;
  std::optional<std::uint64_t> wal_of_open(unsigned session) const;

  const std::string& key() const { return key_; }

 private:
  EntryContent content_of(const Draft& draft) const;
  Status verdict(const Draft& draft, LogEntry& entry, bool retain_is_over) const;
  bool excused(const Draft& draft, const Status& refusal, LeftOut rule) const;
  void force(const Draft& draft);
  void refresh();

  const Configuration* configuration_;
  LogState state_;
  // Beyond the production fold, and empty while no rule is left out:
  std::map<unsigned, PackMask> forced_live_, forced_open_;
  std::uint64_t forced_aborted_ = 0, forced_gone_ = 0;  ///< bit: session
  // Derived:
  PackMask purged_ = 0, forced_purged_ = 0;
  std::uint64_t floor_ = 0, window_floor_ = 0, window_before_ = 0;
  std::uint64_t thinned_ = 0, cut_off_ = 0;  ///< bit: session
  std::string key_;
  std::shared_ptr<const SharedLog> before_last_;
};

}  // namespace pgmint::explore
