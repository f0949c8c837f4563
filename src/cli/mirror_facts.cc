#include "cli/mirror_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/repository_store.h"

namespace pgmint::cli {
namespace {

using std::chrono::seconds;

std::optional<seconds> lag_of(const repository::MirrorMark& mark) {
  const auto as_of = mark.as_of();
  if (!as_of) return std::nullopt;
  return std::max(seconds(0), std::chrono::duration_cast<seconds>(system_clock().now() - *as_of));
}

Result<std::optional<repository::MirrorMark>> mark_of(Context& context, const MirrorSettings& settings, const repository::RepositoryId& id) {
  const auto opened = TRY(open_mirror_store(settings, TRY(context.configuration())->s3, false, true, context.cancel()));
  auto stored = TRY(repository::newest_mark(*opened.store, id).context(fmt::format("mirror {}", settings.name)));
  if (!stored) return std::optional<repository::MirrorMark>();
  return std::optional(std::move(stored->mark));
}

}  // namespace

Json mirror_json(const repository::Repository& repository) {
  if (!repository.is_mirror()) return nullptr;
  const auto& mark = *repository.mirror_mark();
  const auto lag = lag_of(mark);
  return {{"of", mark.source},
          {"made_by", mark.made_by},
          {"made", format_rfc3339(mark.made)},
          {"as_of", mark.as_of() ? Json(format_rfc3339(*mark.as_of())) : Json(nullptr)},
          {"lag_s", lag ? Json(lag->count()) : Json(nullptr)}};
}

std::string mirror_text(const repository::Repository& repository) {
  if (!repository.is_mirror()) return "";
  const auto& mark = *repository.mirror_mark();
  const auto as_of = mark.as_of();
  return fmt::format("a mirror of {}, {}; read-only", mark.source, as_of ? fmt::format("as of {} ({})", readable_time(*as_of), ago(*as_of)) : std::string("never copied whole"));
}

std::optional<seconds> MirrorView::lag() const { return mark ? lag_of(*mark) : std::nullopt; }

Result<std::vector<MirrorView>> look_at_mirrors(Context& context) {
  std::vector<MirrorView> views;
  const auto& configuration = *TRY(context.configuration());
  if (configuration.mirrors.empty()) return views;
  const auto& repository = *TRY(context.repository());
  const auto& name = TRY(context.repository_settings())->name;
  for (const auto& settings : configuration.mirrors) {
    if (!settings.is_of(name)) continue;
    auto& view = views.emplace_back();
    view.settings = &settings;
    auto mark = mark_of(context, settings, repository.format().repository);
    TRY(context.cancel().check());
    if (mark) view.mark = std::move(*mark);
    else view.problem = std::move(mark.error());
  }
  return views;
}

Json to_json(const MirrorView& view) {
  const auto lag = view.lag();
  const auto as_of = view.mark ? view.mark->as_of() : std::nullopt;
  return {{"name", view.settings->name},
          {"url", view.settings->url},
          {"state", view.problem ? "unknown" : !view.mark ? "missing" : view.mark->state == repository::MirrorState::Promoted ? "promoted" : "mirror"},
          {"as_of", as_of ? Json(format_rfc3339(*as_of)) : Json(nullptr)},
          {"lag_s", lag ? Json(lag->count()) : Json(nullptr)},
          {"lag_max_s", view.settings->lag_max.count()}};
}

std::string describe(const MirrorView& view) {
  const auto as_of = view.mark ? view.mark->as_of() : std::nullopt;
  std::string state;
  if (view.problem) state = view.problem->describe();
  else if (!view.mark) state = "nothing was copied there yet";
  else if (view.mark->state == repository::MirrorState::Promoted) state = fmt::format("promoted by {} {}", view.mark->made_by, ago(view.mark->written));
  else if (!as_of) state = "begun, and never copied whole";
  else state = fmt::format("as of {} ({}, objective: {})", readable_time(*as_of), ago(*as_of), human(view.settings->lag_max));
  return fmt::format("mirror {}: {}", view.settings->name, state);
}

std::vector<Problem> mirror_problems(const repository::Repository& repository, const std::vector<MirrorView>& views, std::vector<std::string>* unjudged) {
  std::vector<Problem> problems;
  if (repository.is_mirror()) {
    const auto lag = lag_of(*repository.mirror_mark());
    if (!lag || *lag > MirrorSettings{}.lag_max)
      problems.push_back({"mirror-old", fmt::format("this repository is {}", mirror_text(repository)), "at the source: pgmint replicate", false, "", true});
  }
  for (const auto& view : views) {
    const auto& name = view.settings->name;
    const auto hint = fmt::format("pgmint replicate {}", name);
    const auto lag = view.lag();
    if (view.problem) {
      problems.push_back({"mirror-unreachable", describe(view), view.problem->hint().empty() ? hint : view.problem->hint(), false, name});
      if (unjudged != nullptr) unjudged->insert(unjudged->end(), {"mirror-old", "mirror-missing", "mirror-promoted"});
    } else if (!view.mark) {
      problems.push_back({"mirror-missing", describe(view), hint, false, name});
    } else if (view.mark->state == repository::MirrorState::Promoted) {
      problems.push_back({"mirror-promoted", fmt::format("{}: it is a repository of its own, and this one was left behind", describe(view)),
                          "repository in the configuration should name the promoted one; what was backed up here since is here alone", false, name, true});
    } else if (!lag || *lag > view.settings->lag_max) {
      problems.push_back({"mirror-old", describe(view), hint, false, name, true});
    }
  }
  return problems;
}

}  // namespace pgmint::cli
