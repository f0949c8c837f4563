// What became of the last run of each command that works while nobody watches, in small files of the state directory: so that
// a failure is noticed whoever ran it, cron, the daemon or a person.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"

namespace pgmint::service {

/// Runs of one key follow each other; the newest tells how things are.
struct RunKey {
  std::string verb;     ///< "backup", "backup logical", "verify --read-data"
  std::string cluster;  ///< empty: all
  std::string part;     ///< of what the verb does, such as the databases of a dump; empty: all
  bool operator==(const RunKey&) const = default;
  /// "backup of main", "backup logical of main (shop)", "expire"
  std::string describe() const;
};

struct RunNote {
  RunKey key;
  std::optional<TimePoint> started;    ///< of a run that has not ended, or the newest that has
  std::optional<TimePoint> ended;      ///< of the newest that has
  std::optional<TimePoint> succeeded;  ///< when one last ended with 0
  int exit = 0;                        ///< of the newest that has ended
  std::string message, hint;           ///< of its failure, redacted
  bool running = false;                ///< a process of it is there
  std::optional<TimePoint> running_since;  ///< of those that are there, the oldest
  /// Begun, not ended, and its process is gone: killed, or the machine went down. Not while another one is there.
  bool lost = false;

  std::optional<TimePoint> dismissed;  ///< the moment of the failure of which nobody needs to hear any more; of another one it says nothing

  bool failed() const { return lost || (ended && exit != 0); }
  /// When the failure was; of a run that was killed, when it began.
  std::optional<TimePoint> failed_at() const { return lost ? started : ended; }
};

/// Not thread-safe; processes may write and read at once, and of two runs of one key at the same time the last to end is told.
class RunNotes {
 public:
  /// @param directory  made when first needed. Borrows the clock.
  RunNotes(fs::path directory, Clock& clock) : directory_(std::move(directory)), clock_(clock) {}

  /// @errors Key, Io, of all that write
  Status begin(const RunKey& key);
  Status end(const RunKey& key, int exit, std::string_view message, std::string_view hint);
  /// The run that begin() told was none: its command line was wrong.
  Status never_began(const RunKey& key);
  /// Ever, it or a run of the same cluster that covers it. False where its note cannot be read.
  bool has_succeeded(const RunKey& key) const;
  /// In the order of their keys. A note that cannot be read is passed over and named in `unreadable`. @errors Key, Io
  Result<std::vector<RunNote>> all(std::vector<std::string>* unreadable = nullptr) const;
  /// Of the failure that its newest run ended with nobody needs to hear any more; of the next one they do. @return false: it did not fail
  /// @errors Key, Io
  Result<bool> dismiss(const RunKey& key);
  /// As if it had never run. @return how many notes went
  Result<std::size_t> forget(const RunKey& key);

 private:
  fs::path file_of(const RunKey& key) const;
  Fd lock() const;
  fs::path directory_;
  Clock& clock_;
};

/// When it, or a run that covers it (open_failures()), last went well.
std::optional<TimePoint> last_success(const std::vector<RunNote>& notes, const RunKey& key);

/// The failed ones among `notes` that were not dismissed, and for which nothing succeeded since that covers them: the same key, or the verb
/// for all clusters, or without a part, or one that does more.
std::vector<RunNote> open_failures(const std::vector<RunNote>& notes, TimePoint now);

}  // namespace pgmint::service
