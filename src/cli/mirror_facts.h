// What there is to say about mirrors: of the repository that is one, and of those that are configured.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/health.h"
#include "repository/mirror_mark.h"

namespace pgmint::cli {

/// {"of", "made_by", "made", "as_of", "lag_s"}; null: the repository is none.
Json mirror_json(const repository::Repository& repository);
/// "a mirror of ..., as of ... (2 h ago); read-only"; empty: it is none.
std::string mirror_text(const repository::Repository& repository);

/// A configured mirror as it was found.
struct MirrorView {
  const MirrorSettings* settings = nullptr;
  std::optional<repository::MirrorMark> mark;  ///< nullopt: it was never begun, or `problem` says why it is not known
  std::optional<Error> problem;

  /// nullopt: it shows no moment yet, or that is not known.
  std::optional<std::chrono::seconds> lag() const;
};
/// All that are configured, looked at now. @errors Configuration, Cancelled
Result<std::vector<MirrorView>> look_at_mirrors(Context& context);
Json to_json(const MirrorView& view);
std::string describe(const MirrorView& view);

/// "mirror-old", "mirror-missing", "mirror-promoted", "mirror-unreachable"; and of a repository that is a mirror itself "mirror-old".
/// @param unjudged  codes that could not be looked for
std::vector<Problem> mirror_problems(const repository::Repository& repository, const std::vector<MirrorView>& views, std::vector<std::string>* unjudged);

}  // namespace pgmint::cli
