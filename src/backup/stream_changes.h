// Whether a remote server sends only what changed since the parent, and why it does not.
// Decision: docs/adr/0041-incremental-streams.md
#pragma once

#include <functional>
#include <string>

#include "backup/incremental.h"
#include "backup/remote_server.h"
#include "base/clock.h"
#include "postgres/backup_label.h"

namespace pgmint::backup {

/// Not thread-safe. Borrows server, parent and clock. The steps in their order: choose, changes; give_up() at any time, and for good.
class StreamChanges {
 public:
  StreamChanges(RemoteServer& server, Incremental& incremental, Clock& clock) : server_(server), incremental_(incremental), clock_(clock) {}

  /// Before the start: waits for the server's summarizer, tells the server what the parent holds. May give up the incremental, where the
  /// parent cannot be read. @param started  of this backup @param tick  while it waits @errors Storage, Key, Cancelled
  Status choose(const postgres::ControlFile& control, TimePoint started, const std::function<Status(const std::string&)>& tick);
  bool come() const { return come_; }
  /// Whole files from now on: what comes of the server is over. @param why  for people
  void give_up(std::string why);
  /// After the start: the list by which it sends, void with its reason when it does not. @errors Cancelled
  Result<postgres::ChangeSet> changes(const postgres::TimelineHistory& history, postgres::Lsn from, postgres::Lsn to);
  /// What the label of such a stream has to say that it began from; nullopt: nothing.
  std::optional<postgres::Lsn> since() const;

 private:
  using Why = std::optional<std::string>;
  Result<Why> why_not(const std::function<Status(const std::string&)>& tick);
  Result<Why> wait_for_summarizer(const std::function<Status(const std::string&)>& tick);

  RemoteServer& server_;
  Incremental& incremental_;
  Clock& clock_;
  bool come_ = false;
  std::string why_not_ = "the server was not asked for less";
};

/// Whether a label is that of this backup, and the server sent what it was asked for. @param since  nullopt: everything @errors Postgres
Status check_label(const postgres::BackupLabel& label, const ServerStart& started, std::optional<postgres::Lsn> since);

}  // namespace pgmint::backup
