#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/runbook_text.h"

namespace pgmint::cli {
namespace {

constexpr mode_t kFileMode = 0640;

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  if (arguments.has("--html") && arguments.has("--markdown")) return Error(Errc::Usage, "--html and --markdown: one of them");
  const auto to = arguments.get("--to");
  const bool page = arguments.has("--html") || (!arguments.has("--markdown") && to && (to->ends_with(".html") || to->ends_with(".htm")));
  const auto facts = TRY(runbook_facts(context));
  const auto document = runbook(facts);
  auto text = page ? service::to_html(document) : service::to_markdown(document);
  if (to) TRY(write_file_durably(*to, as_bytes(text), kFileMode));
  if (!facts.repository_problem.empty()) print_warning(fmt::format("the repository could not be read, and the runbook says so: {}", facts.repository_problem));
  if (!to) {
    if (text.ends_with('\n')) text.pop_back();
    context.output().line(text);
  }
  Json answer = {{"format", page ? "html" : "markdown"}, {"to", to ? Json(*to) : Json(nullptr)}, {"repository_read", facts.repository_problem.empty()}};
  if (!to) answer["text"] = text;
  context.output().document(answer);
  if (to) context.output().line(fmt::format("the runbook is in {}; print it, and keep a copy away from this host", *to));
  return 0;
}

}  // namespace

const CommandSpec& runbook_command() {
  static const CommandSpec command = {
      .verb = "runbook",
      .summary = "write the emergency runbook of this installation",
      .description = {"Clusters, keys' whereabouts, contacts, recovery windows, objectives, the last proven restore, and the exact commands, in the order in which one types them, for the "
                      "configuration that it is run with: as Markdown, or as one HTML page that needs nothing else and prints well.",
                      "Keys and passwords are never in it; where they are is. What the repository does not tell because it cannot be reached, the runbook says so and has the rest.",
                      "Make it anew after every change, and regularly: it says what could be recovered when it was made."},
      .positionals = {},
      .options = {{.name = "--markdown", .value = "", .text = "Markdown: the default."},
                  {.name = "--html", .value = "", .text = "One HTML page: the default for a FILE that ends in .html."},
                  {.name = "--to", .value = "FILE", .text = "Write it there, mode 0640. Default: standard output.", .completes = Completes::File}},
      .exits = {},
      .examples = {{"pgmint runbook --to /srv/wiki/pgmint-runbook.html", "For the team; print it too."}, {"pgmint runbook", "To read it here."}},
      .see_also = {"recover", "restore", "restore-db", "doctor", "status"},
      .only_reads = true,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
