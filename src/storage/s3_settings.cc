#include "storage/s3_settings.h"

#include <fmt/format.h>

#include <pugixml.hpp>

namespace pgmint::storage {
namespace {

using Grade = S3Finding::Grade;
/// A long weekend in which nobody looks, and some days to find out.
constexpr unsigned kOldVersionsKept = 14;

using Findings = std::vector<S3Finding>;

S3Finding finding(Grade grade, std::string detail, std::string hint = {}) { return {grade, "", std::move(detail), std::move(hint)}; }

/// @errors Storage
Result<pugi::xml_node> load(pugi::xml_document& document, const Bytes& xml, const char* root) {
  if (document.load_buffer(xml.data(), xml.size(), pugi::parse_minimal | pugi::parse_escapes))
    if (const auto node = document.child(root)) return node;
  return Error(Errc::Storage, fmt::format("the store's answer is no {}: was it the store that answered?", root));
}

/// For a terminal.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 100)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out;
}

/// The prefix that a rule is for; "" is the whole bucket.
std::string_view prefix_of(const pugi::xml_node& rule) {
  for (const auto& node : {rule.child("Filter").child("Prefix"), rule.child("Filter").child("And").child("Prefix"), rule.child("Prefix")})
    if (node) return node.child_value();
  return {};
}

}  // namespace

Result<Findings> judge_versioning(const std::optional<Bytes>& xml) {
  if (!xml) return Findings{finding(Grade::Fine, "off")};
  pugi::xml_document document;
  const std::string_view status = TRY(load(document, *xml, "VersioningConfiguration")).child_value("Status");
  if (status.empty()) return Findings{finding(Grade::Fine, "off")};
  if (status == "Enabled") return Findings{finding(Grade::Fine, "on: what somebody deletes or overwrites can be brought back (pgmint repair --undelete)")};
  return Findings{finding(Grade::Warning, "suspended: what is deleted or overwritten from now on is gone, and old versions are still paid for", "turn versioning on again")};
}

Result<bool> bears_object_lock(const std::optional<Bytes>& xml) {
  if (!xml) return false;
  pugi::xml_document document;
  return std::string_view(TRY(load(document, *xml, "ObjectLockConfiguration")).child_value("ObjectLockEnabled")) == "Enabled";
}

Result<Findings> judge_object_lock(const std::optional<Bytes>& xml, bool wanted) {
  if (!TRY(bears_object_lock(xml)))
    return Findings{wanted ? finding(Grade::Bad, "off, and object_lock is configured: no object can be locked, and none is created", "object lock is chosen when a bucket is made: name a new bucket, or take object_lock out of the configuration")
                           : finding(Grade::Fine, "off")};
  pugi::xml_document document;
  const auto retention = TRY(load(document, *xml, "ObjectLockConfiguration")).child("Rule").child("DefaultRetention");
  if (!retention) return Findings{finding(Grade::Fine, wanted ? "on" : "on, without a default retention: no object is locked by it")};
  const std::string_view days = retention.child_value("Days"), years = retention.child_value("Years");
  return Findings{finding(Grade::Warning,
                          fmt::format("on: every object is locked for {} {} ({}), also what expire and collect let go", shown(days.empty() ? years : days),
                                      days.empty() ? "years" : "days", shown(retention.child_value("Mode"))),
                          "keep the default retention below that of the backups ([cluster.NAME.retention])")};
}

Result<Findings> judge_lifecycle(const std::optional<Bytes>& xml, std::string_view prefix) {
  if (!xml) return Findings{finding(Grade::Fine, "none")};
  pugi::xml_document document;
  Findings findings;
  for (const auto rule : TRY(load(document, *xml, "LifecycleConfiguration")).children("Rule")) {
    if (std::string_view(rule.child_value("Status")) != "Enabled") continue;
    const auto for_prefix = prefix_of(rule);
    if (!for_prefix.starts_with(prefix) && !prefix.starts_with(for_prefix)) continue;
    const auto name = fmt::format("rule \"{}\"", shown(rule.child_value("ID")));
    const std::string hint = "remove the rule, or keep it off this prefix: pgmint expire and pgmint collect know what is needed, the store does not";
    const auto expiration = rule.child("Expiration");
    if (expiration && std::string_view(expiration.child_value("ExpiredObjectDeleteMarker")) != "true")
      findings.push_back(finding(Grade::Bad, fmt::format("{} removes objects of the repository by their age: backups will be lost", name), hint));
    if (const auto old = rule.child("NoncurrentVersionExpiration"))
      if (const auto days = old.child("NoncurrentDays").text().as_uint(); days < kOldVersionsKept)
        findings.push_back(finding(Grade::Warning, fmt::format("{} removes old versions after {} days: what an attacker deletes can be brought back no longer than that", name, days),
                                   fmt::format("keep them for {} days at least", kOldVersionsKept)));
    for (const auto transition : rule.children("Transition")) {
      const std::string_view to = transition.child_value("StorageClass");
      const bool asleep = to == "GLACIER" || to == "DEEP_ARCHIVE";
      findings.push_back(finding(asleep ? Grade::Bad : Grade::Warning,
                                 fmt::format("{} moves objects of the repository to {}{}", name, shown(to), asleep ? ", where no restore can read them" : ""), hint));
    }
  }
  if (findings.empty()) findings.push_back(finding(Grade::Fine, "none that concerns this repository"));
  return findings;
}

}  // namespace pgmint::storage
