// How far a long operation is: a bar on a terminal, plain lines in a log, events for programs. Always on standard
// error.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/strong.h"

namespace pgmint::cli {

class Context;

enum class ProgressMode { Bar, Plain, Events, None };

/// --progress, else configured, else auto: a bar when standard error is a terminal, lines otherwise.
ProgressMode progress_mode(Context& context);

struct ProgressNews {
  std::string_view phase;               ///< "copy", "wait-for-wal"
  std::uint64_t done = 0, total = 0;    ///< bytes; total 0: this phase cannot be measured
  std::optional<std::uint64_t> stored;  ///< for the ratio
  std::string_view detail;
};

/// Not thread-safe. Borrows clock and sink.
class ProgressDisplay {
 public:
  using Sink = std::function<void(std::string_view)>;
  ProgressDisplay(ProgressMode mode, Clock& clock, Sink sink);
  /// To standard error, by the machine's clock.
  explicit ProgressDisplay(ProgressMode mode);
  ~ProgressDisplay();

  void update(const ProgressNews& news);
  /// The last word on the phase that is shown; the bar is taken away. Also done by the destructor.
  void finish();

 private:
  double rate() const;
  std::optional<double> seconds_left() const;
  std::string figures() const;
  void show(bool last);
  void show_bar();

  ProgressMode mode_;
  Clock& clock_;
  Sink sink_;
  std::string phase_, detail_;
  std::uint64_t done_ = 0, total_ = 0;
  std::optional<std::uint64_t> stored_;
  TimePoint phase_began_{}, shown_{};
  bool shown_once_ = false, bar_drawn_ = false;
};

}  // namespace pgmint::cli
