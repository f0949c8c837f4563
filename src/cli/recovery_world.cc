#include "cli/recovery_world.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/process_group.h"
#include "base/units.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kTailBytes = 4096;
constexpr std::size_t kWordsMax = 500;
constexpr auto kNoticeLimit = std::chrono::seconds(10);
constexpr auto kNoticePoll = std::chrono::milliseconds(20);
/// In the environment of everything that a step starts: how what an interrupted run has left is found.
constexpr const char* kMark = "PGMINT_RECOVERY_STEP";

class CommandOnHost final : public service::RunningCommand {
 public:
  explicit CommandOnHost(std::unique_ptr<ProcessGroup> group) : group_(std::move(group)) {}
  Result<std::optional<int>> poll() override { return group_->poll(); }
  std::size_t end() override { return group_->end(); }
  void leave() override { group_->leave(); }

 private:
  std::unique_ptr<ProcessGroup> group_;
};

/// Lines that a program wrote, as one: no control characters for the terminal.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') out += "; ";
    else out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
  }
  return out;
}

}  // namespace

std::string RecoveryOnHost::mark(const std::string& digest) const { return fmt::format("{}/{}", record_.id, digest); }

Result<std::unique_ptr<service::RunningCommand>> RecoveryOnHost::start(const service::RecoveryStep& step, std::size_t number) {
  auto group = TRY(ProcessGroup::start({.arguments = step.command,
                                        .environment = {{"PGMINT_INCIDENT", record_.id}, {"PGMINT_STEP", step.name}, {kMark, mark(service::step_digest(step))}},
                                        .output = store_.output_of(record_, number),
                                        .input = {}},
                                       system_clock()));
  return std::unique_ptr<service::RunningCommand>(new CommandOnHost(std::move(group)));
}

std::string RecoveryOnHost::last_words(std::size_t number, std::size_t lines) {
  const auto path = store_.output_of(record_, number);
  const auto status = stat_if_exists(path);
  const auto fd = open_file(path, O_RDONLY);
  if (!status || !*status || !fd) return "";
  const auto size = static_cast<std::uint64_t>((*status)->st_size);
  Bytes tail(std::min<std::uint64_t>(size, kTailBytes));
  const auto got = read_at(*fd, tail, size - tail.size(), path.string());
  if (!got) return "";
  std::string_view text = as_text(ByteView(tail).first(*got));
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  auto begin = text.size();
  for (std::size_t found = 0; found < lines && begin != 0; ++found) {
    const auto newline = text.rfind('\n', begin - 1);
    begin = newline == std::string_view::npos ? 0 : newline;
  }
  if (begin < text.size() && text[begin] == '\n') ++begin;
  auto words = plain(text.substr(begin));
  if (words.size() > kWordsMax) words = "..." + words.substr(words.size() - kWordsMax);
  return words;
}

Status RecoveryOnHost::look(const service::HealthCheck& check, service::milliseconds limit) {
  return service::look(check, limit, system_clock(), context_.cancel());
}

bool RecoveryOnHost::is_free(const std::string& directory) {
  std::size_t entries = 0;
  const auto listed = list_directory(directory, [&](const std::string&, unsigned char) -> Status {
    ++entries;
    return ok();
  });
  return listed ? entries == 0 : listed.error().code() == Errc::NotFound;
}

Result<service::Leftovers> RecoveryOnHost::end_leftovers(const std::string& digest, int session) {
  auto ended = TRY(end_marked_processes(kMark, mark(digest), session, system_clock()));
  return service::Leftovers{ended.found, std::move(ended.left)};
}

bool RecoveryOnHost::confirm(const service::RecoveryStep& step) {
  if (context_.yes()) return true;
  fmt::print(stderr, "step \"{}\": {}\nRun it? [y/N] ", plain(step.name), step.command.empty() ? "wait for its check" : service::shown_command(step.command));
  std::string answer;
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) answer += c;
  return answer == "y" || answer == "Y" || answer == "yes";
}

Status RecoveryOnHost::save(const service::IncidentRecord& record) { return store_.save(record); }

void RecoveryOnHost::tell(std::string_view line) { log_info("{}", line); }
void RecoveryOnHost::warn(std::string_view line) { log_warning("{}", line); }

Status RecoveryOnHost::notify(const service::Notice& notice) {
  messenger_.send(notice, record_.id, record_.state == service::IncidentState::Open);
  if (plan_.notify.empty()) return ok();
  Json contacts = Json::array();
  for (const auto& contact : plan_.contacts)
    contacts.push_back({{"name", contact.name}, {"role", contact.role}, {"address", contact.address}, {"phone", contact.phone}});
  Json message = {{"event", service::notice_name(notice.kind)}, {"text", redact(notice.text)}, {"time", format_rfc3339(system_clock().now())},
                  {"incident", record_.id}, {"plan", plan_.name}, {"scope", record_.scope}, {"actor", actor_label()}};
  message["step"] = notice.step.empty() ? Json(nullptr) : Json(notice.step);
  message["group"] = notice.group ? Json(service::group_name(*notice.group)) : Json(nullptr);
  message["contacts"] = std::move(contacts);
  auto group = TRY(ProcessGroup::start({.arguments = plan_.notify, .environment = {}, .output = {}, .input = message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"},
                                       system_clock()));
  const auto until = system_clock().now() + kNoticeLimit;
  for (;;) {
    if (const auto status = TRY(group->poll())) {
      group->end();
      return *status == 0 ? ok() : Status(Error(Errc::Storage, fmt::format("{}: exit {}", plan_.notify.front(), *status)));
    }
    if (system_clock().now() >= until) return Error(Errc::Storage, fmt::format("{} had not ended after {}", plan_.notify.front(), human(kNoticeLimit)));
    system_clock().sleep(kNoticePoll);
  }
}

}  // namespace pgmint::cli
