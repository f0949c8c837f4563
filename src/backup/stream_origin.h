// What a remote server sends, as the origin of a backup. Decision: docs/adr/0035-remote-clusters.md
#pragma once

#include "backup/origin.h"
#include "backup/stream_copy.h"

namespace pgmint::backup {

/// What is asked of the server by SQL before its stream has come, and of the stream from then on. Borrows the server.
class StreamOrigin final : public Origin {
 public:
  explicit StreamOrigin(RemoteServer& remote) : server(remote) {}

  RemoteServer& server;
  StreamSource source;
  StreamedCluster cluster;  ///< what has come; empty before

  Status check() override { return ok(); }
  /// Before the stream without bytes. @errors Postgres, Precondition, Cancelled; Corruption: what was sent is none
  Result<postgres::ControlFileImage> control_file() override;
  /// Comes with the stream, not by a walk.
  Result<postgres::DirectoryScan> scan(const CancelToken*) override { return std::move(cluster.scan); }
  /// None: a server sends only its data directory, and what lies elsewhere is named.
  Result<std::vector<ExtraFile>> outside_configuration(const postgres::ServerFacts& facts, std::vector<std::string>& warnings) override;
  Result<std::optional<postgres::Lsn>> last_needed_record(const postgres::ControlFile& control, postgres::TimelineId timeline, postgres::Lsn start,
                                                          postgres::Lsn stop) override;
  /// What it needs has come already.
  Result<std::unique_ptr<OwnSegment>> own_segment(const postgres::ControlFile&, const std::string&, postgres::Lsn, std::uint32_t) override {
    return std::unique_ptr<OwnSegment>();
  }
};

}  // namespace pgmint::backup
