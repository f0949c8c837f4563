// What the runbook of this installation is made of, gathered; what cannot be had now is said, and leaves the rest as it is.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/health.h"
#include "service/contact.h"

namespace pgmint::cli {

/// Where a key is, without what it is.
struct KeyPlace {
  std::string what, path, state;  ///< "key file", "/etc/pgmint/repository.key", "there, mode 0600"
};

struct SlotFacts {
  std::string name, kind, role, note;
  std::optional<TimePoint> created, opened;
  bool on_this_host = false;  ///< a key file: lost with the host
};

/// A restore that has been seen to work.
struct ProvenRestore {
  TimePoint time{};
  std::string what;  ///< "restore of main to /srv/pg, by postgres@db1"
};

struct ClusterFacts {
  std::string name, data_directory, environment, connection;  ///< connection: passwords replaced by ***
  std::optional<std::string> bin_directory;
  std::string retention;
  std::chrono::seconds objective{};
  std::optional<std::chrono::seconds> exposure;
  bool configured = false, in_repository = false;
  std::vector<Window> windows;
  std::optional<std::string> newest_backup, newest_dump_database, newest_config_backup;
  std::optional<TimePoint> newest_started;
  std::uint32_t port = 5432;
  std::string proofs;                  ///< "all of it, the oldest 6 d 03 h ago"
  std::vector<std::string> config_paths;
  std::vector<Problem> problems;
  std::optional<ProvenRestore> proven;
};

struct RunbookFacts {
  TimePoint now{};
  std::string actor, version;
  std::vector<std::string> program;  ///< how one types pgmint here: with --config where that is needed
  std::string configuration_file, configuration_text;  ///< the text without secrets
  std::string repository, state_directory;
  std::string repository_problem;    ///< why nothing is known from the repository; empty: it was read
  std::vector<KeyPlace> keys;
  std::vector<SlotFacts> slots;
  std::vector<service::Contact> contacts;
  std::vector<ClusterFacts> clusters;
  std::vector<Problem> warnings;
  std::vector<std::vector<std::string>> schedule;  ///< rows: what, cluster, when, next
  std::optional<std::string> plan;                 ///< the recovery plan's file
  std::string plan_problem;
  std::vector<std::vector<std::string>> plan_steps;  ///< rows: number, group, step, check
  std::vector<std::string> high, medium;           ///< [recovery]
};

/// @errors Configuration, Cancelled; what the repository or a server does not give is said in the facts
Result<RunbookFacts> runbook_facts(Context& context);

}  // namespace pgmint::cli
