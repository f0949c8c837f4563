#include "postgres/base_backup_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "postgres/parse_number.h"

namespace pgmint::postgres {
namespace {

constexpr std::size_t kLabelMax = 512;  // PostgreSQL refuses labels of 1,024 bytes and more
// basebackup.h: MAX_RATE_LOWER, MAX_RATE_UPPER.
constexpr std::uint64_t kRateMinKib = 32, kRateMaxKib = 1U << 20;
constexpr std::size_t kTablespacesMax = 1'000'000;
constexpr std::string_view kDataCorrupted = "XX001";

/// A string of the replication grammar.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += c;
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + "'";
}

Error malformed(std::string what) {
  return Error(Errc::Postgres, "PostgreSQL: what it sends is no base backup: " + std::move(what));
}

/// What is wrong with bytes from the server is the server's, not the repository's.
template <class T>
Result<T> from_server(Result<T> parsed) {
  if (parsed || parsed.failure().code() != Errc::Corruption) return parsed;
  return malformed(parsed.failure().describe());
}

/// "16400.tar" or "base.tar".
std::optional<std::optional<Oid>> tablespace_of(std::string_view archive) {
  if (archive == "base.tar") return std::optional<Oid>();
  if (!archive.ends_with(".tar")) return std::nullopt;
  archive.remove_suffix(4);
  const auto oid = parse_number<std::uint32_t>(archive, 10);
  if (!oid || *oid == 0) return std::nullopt;
  return std::optional(Oid(*oid));
}

/// A row of a position and its timeline.
Result<std::pair<Lsn, TimelineId>> position_of(const std::optional<Connection::Answer>& answer, std::string_view which) {
  if (answer && !answer->is_copy && answer->rows.rows.size() == 1 && answer->rows.rows[0].size() >= 2) {
    const auto lsn = parse_lsn(answer->rows.rows[0][0].value_or(""));
    const auto timeline = parse_timeline(answer->rows.rows[0][1].value_or(""));
    if (lsn && timeline) return std::pair(*lsn, *timeline);
  }
  return malformed(fmt::format("no {} position", which));
}

/// @param order  of the archives
Status read_tablespaces(const std::optional<Connection::Answer>& answer, BaseBackupStart& start, std::vector<std::optional<Oid>>& order) {
  if (!answer || answer->is_copy || answer->rows.rows.empty() || answer->rows.rows.size() > kTablespacesMax) return malformed("no list of tablespaces");
  for (const auto& row : answer->rows.rows) {
    if (row.size() < 3) return malformed("its list of tablespaces has another shape than expected");
    start.bytes += parse_number<std::uint64_t>(row[2].value_or("0"), 10).value_or(0) * 1024;
    if (!row[0]) {  // the data directory
      order.emplace_back();
      continue;
    }
    const auto oid = parse_number<std::uint32_t>(*row[0], 10);
    if (!oid || *oid == 0 || row[1].value_or("").empty()) return malformed("a tablespace without number or place");
    order.emplace_back(Oid(*oid));
    start.tablespaces.push_back({Oid(*oid), *row[1], !row[1]->starts_with('/')});
  }
  if (std::ranges::count_if(order, [](const auto& each) { return !each; }) != 1 || order.back()) return malformed("the data directory is not the last of its archives");
  std::ranges::sort(start.tablespaces, {}, &BaseBackupTablespace::oid);
  return ok();
}

/// A connection string may name several hosts, or a name that leads elsewhere since.
Status check_system(Connection& connection, SystemIdentifier expected) {
  TRY(connection.command("IDENTIFY_SYSTEM"));
  const auto answer = TRY(connection.answer());
  if (!answer || answer->is_copy || answer->rows.rows.size() != 1 || answer->rows.rows[0].empty()) return malformed("no system identifier");
  const auto found = parse_system_identifier(answer->rows.rows[0][0].value_or(""));
  while (TRY(connection.answer())) continue;
  if (found == expected) return ok();
  return Error(Errc::Precondition, fmt::format("the replication session leads to system identifier {}, other sessions to {}", found ? found->value() : 0, expected.value()),
               Hint{"connection must lead to one server, whichever of its names is used"});
}

}  // namespace

std::string base_backup_command(const BaseBackupOptions& options, const VersionEntry& version) {
  const auto label = quoted(std::string_view(options.label).substr(0, kLabelMax));
  std::optional<std::uint64_t> rate;
  if (options.max_rate && options.max_rate->value() >= kRateMinKib * 1024) rate = std::min<std::uint64_t>(options.max_rate->value() / 1024, kRateMaxKib);
  // Checksums are left on: the server reads a page again that fits none, which nobody else can.
  if (version.base_backup_option_list) {
    auto command = fmt::format("BASE_BACKUP (LABEL {}, PROGRESS true, CHECKPOINT '{}', WAL {}, WAIT false, TABLESPACE_MAP true, VERIFY_CHECKSUMS true",
                               label, options.fast_checkpoint ? "fast" : "spread", options.with_wal);
    if (options.parent_manifest) command += ", INCREMENTAL true";
    if (rate) command += fmt::format(", MAX_RATE {}", *rate);
    return command + ")";
  }
  auto command = fmt::format("BASE_BACKUP LABEL {} PROGRESS", label);
  if (options.fast_checkpoint) command += " FAST";
  if (options.with_wal) command += " WAL";
  command += " NOWAIT";
  if (rate) command += fmt::format(" MAX_RATE {}", *rate);
  return command + " TABLESPACE_MAP";
}

Result<BaseBackupMessage> parse_base_backup_message(ByteView message) {
  const auto damaged = [](std::string what) { return Error(Errc::Corruption, "message of a base backup: " + std::move(what)); };
  if (message.empty()) return damaged("empty");
  const auto rest = message.subspan(1);
  switch (static_cast<char>(message.front())) {
    case 'd':
      return BaseBackupMessage(ArchiveBytes{rest});
    case 'm':
      if (!rest.empty()) return damaged("a manifest begins with something");
      return BaseBackupMessage(ManifestBegins{});
    case 'p': {
      if (rest.size() != 8) return damaged("progress of another length");
      std::uint64_t bytes = 0;
      for (const auto byte : rest) bytes = bytes << 8U | std::to_integer<std::uint64_t>(byte);
      return BaseBackupMessage(ProgressMade{bytes});
    }
    case 'n': {
      // The archive's name and the tablespace's place, each with its zero byte.
      const auto text = as_text(rest);
      const auto first = text.find('\0');
      if (first == std::string_view::npos || text.find('\0', first + 1) != text.size() - 1) return damaged("the name of an archive is truncated");
      const auto tablespace = tablespace_of(text.substr(0, first));
      if (!tablespace) return damaged("the name of an archive is none");
      return BaseBackupMessage(ArchiveBegins{*tablespace});
    }
    default:
      return damaged(fmt::format("of kind {}, which is not known", std::to_integer<int>(message.front())));
  }
}

Error with_replication_hint(Error error) {
  const auto code = sqlstate_of(error);
  if (code == "28000")
    return std::move(error).with_hint(
        Hint{"on the server, a line in pg_hba.conf lets the role in for replication: hostssl replication ROLE ADDRESS/32 scram-sha-256; then SELECT pg_reload_conf()"});
  if (code == "42501")
    return std::move(error).with_hint(Hint{"on the server: ALTER ROLE name REPLICATION, of the role in connection"});
  if (code == "53300")
    return std::move(error).with_hint(Hint{"raise max_wal_senders on the server and restart it, or let pg_stat_replication say who holds them all"});
  // An administrator's pg_terminate_backend(), a shutdown, a crash.
  if (code && code->starts_with("57P")) return std::move(error).with_hint(Hint{"the server ended the session: its log says why; then start the backup again"});
  return error;
}

struct BaseBackupStream::State {
  Connection connection;
  BaseBackupStart started{};
  std::vector<std::optional<Oid>> order{};  ///< of the archives, before 15

  Status begin(const BaseBackupOptions& options);
  /// 15 and later: one copy of messages that say what they are.
  Status receive_typed(BaseBackupSink& sink);
  /// 13 and 14: one copy for each archive, in the order of the list.
  Status receive_untyped(BaseBackupSink& sink);
  Result<BaseBackupEnd> receive_end();
};

Status BaseBackupStream::State::begin(const BaseBackupOptions& options) {
  if (options.parent_manifest) TRY(connection.copy_in("UPLOAD_MANIFEST", options.parent_manifest));
  TRY(connection.command(base_backup_command(options, connection.version())));
  std::tie(started.start_lsn, started.timeline) = TRY(position_of(TRY(connection.answer()), "start"));
  return read_tablespaces(TRY(connection.answer()), started, order);
}

Status BaseBackupStream::State::receive_typed(BaseBackupSink& sink) {
  const auto copy = TRY(connection.answer());
  if (!copy || !copy->is_copy) return malformed("no archives");
  enum class In { Nothing, Archive, Manifest } in = In::Nothing;
  bool had_base = false;
  const auto take = [&](ByteView raw) -> Status {
    const auto message = TRY(from_server(parse_base_backup_message(raw)));
    if (const auto* bytes = std::get_if<ArchiveBytes>(&message)) {
      if (in == In::Archive) return sink.archive_bytes(bytes->bytes);
      return in == In::Manifest ? ok() : Status(malformed("bytes of no archive"));
    }
    if (std::holds_alternative<ProgressMade>(message)) return ok();
    if (in == In::Archive) TRY(sink.archive_ends());
    const auto* begins = std::get_if<ArchiveBegins>(&message);
    in = begins != nullptr ? In::Archive : In::Manifest;
    if (begins == nullptr) return ok();
    if (had_base) return malformed("an archive behind that of the data directory");
    had_base = !begins->tablespace;
    return sink.archive_begins(begins->tablespace);
  };
  while (TRY(connection.copy_message(take))) continue;
  if (in == In::Archive) TRY(sink.archive_ends());
  return had_base ? ok() : Status(malformed("no archive of the data directory"));
}

Status BaseBackupStream::State::receive_untyped(BaseBackupSink& sink) {
  for (const auto& tablespace : order) {
    const auto copy = TRY(connection.answer());
    if (!copy || !copy->is_copy) return malformed("an archive is missing");
    TRY(sink.archive_begins(tablespace));
    while (TRY(connection.copy_message([&](ByteView bytes) { return sink.archive_bytes(bytes); }))) continue;
    TRY(sink.archive_ends());
  }
  return ok();
}

Result<BaseBackupEnd> BaseBackupStream::State::receive_end() {
  BaseBackupEnd end;
  std::tie(end.stop_lsn, end.timeline) = TRY(position_of(TRY(connection.answer()), "stop"));
  const auto last = connection.answer();
  if (last) return *last ? Result<BaseBackupEnd>(malformed("something follows the stop position")) : end;
  // All was sent by then, and the stop position is told: the backup is whole but for pages that were damaged before it.
  if (sqlstate_of(last.failure()) != kDataCorrupted) return last.failure();
  end.checksums_failed = true;
  return end;
}

BaseBackupStream::BaseBackupStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
BaseBackupStream::BaseBackupStream(BaseBackupStream&&) noexcept = default;
BaseBackupStream& BaseBackupStream::operator=(BaseBackupStream&&) noexcept = default;
BaseBackupStream::~BaseBackupStream() = default;

Result<BaseBackupStream> BaseBackupStream::start(const BaseBackupOptions& options, SystemIdentifier expected, const CancelToken* cancel,
                                                 const CancelToken* also) {
  auto connect = options.connect;
  connect.replication = true;
  const auto refused = [](Error error) { return with_replication_hint(std::move(error)).with_context("the replication session of a base backup"); };
  auto connection = Connection::open(connect, cancel);
  if (!connection) return refused(std::move(connection).failure());
  connection->also_watch(also);
  TRY(check_system(*connection, expected));
  auto state = std::make_unique<State>(State{std::move(*connection)});
  if (auto begun = state->begin(options); !begun) return refused(std::move(begun).failure());
  return BaseBackupStream(std::move(state));
}

const BaseBackupStart& BaseBackupStream::started() const { return state_->started; }

Result<BaseBackupEnd> BaseBackupStream::receive(BaseBackupSink& sink) {
  auto received = [&]() -> Result<BaseBackupEnd> {
    TRY(state_->connection.version().base_backup_option_list ? state_->receive_typed(sink) : state_->receive_untyped(sink));
    return state_->receive_end();
  }();
  if (received) return received;
  return with_replication_hint(std::move(received).failure());
}

}  // namespace pgmint::postgres
