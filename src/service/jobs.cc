#include "service/jobs.h"

#include <algorithm>

#include "base/error.h"

namespace pgmint::service {
namespace {

constexpr char kInRepository = '@';  ///< in no name of a cluster or a repository
/// Seconds. The jobs for all repositories begin at one moment, and the later ones wait so long for what the first is reading.
constexpr std::string_view kReuse = "7200";

}  // namespace

const JobSpec& spec_of(JobKind kind) {
  const auto found = std::ranges::find(kJobs, kind, &JobSpec::kind);
  PGMINT_ASSERT(found != kJobs.end());
  return *found;
}

std::optional<JobKind> find_job(std::string_view name) {
  const auto found = std::ranges::find(kJobs, name, &JobSpec::name);
  return found == kJobs.end() ? std::nullopt : std::optional(found->kind);
}

std::string cluster_in(const std::string& cluster, const std::string& repository) { return cluster + kInRepository + repository; }

std::vector<std::string> job_arguments(JobKind kind, const std::string& cluster, bool is_first) {
  if (const auto at = cluster.find(kInRepository); at != std::string::npos && at > 0) {
    auto words = job_arguments(kind, cluster.substr(0, at), is_first);
    words.insert(words.end(), {"--repository", cluster.substr(at + 1)});
    if (kind == JobKind::Full || kind == JobKind::Incremental) words.insert(words.end(), {"--reuse", std::string(kReuse)});
    return words;
  }
  const auto backup = [&](const char* type) { return std::vector<std::string>{"backup", cluster, "--type", type, "--progress", "none"}; };
  switch (kind) {
    case JobKind::Full: return backup(is_first ? "auto" : "full");
    case JobKind::Incremental: return backup("incremental");
    case JobKind::Logical: return backup("logical");
    case JobKind::Config: return backup("config");
    case JobKind::Expire: return {"expire", cluster, "--progress", "none"};
    case JobKind::Collect: return {"collect", "--cluster", cluster, "--progress", "none"};
    case JobKind::Lock: return {"lock", cluster, "--progress", "none"};
    // New packs now, each of the others once in thirty days: what it reads does not grow with how often it runs.
    case JobKind::Verify: return {"verify", cluster, "--read-data", "--older-than", "30d", "--progress", "none"};
    case JobKind::Replicate: return {"replicate", "--progress", "none"};
  }
  return {};
}

}  // namespace pgmint::service
