#include "cli/slots_json.h"

#include <nlohmann/json.hpp>

#include "cli/backup_facts.h"

namespace pgmint::cli {

std::string_view slot_kind(repository::KeyProvider provider) {
  return provider == repository::KeyProvider::KeyFile ? "key-file" : repository::provider_name(provider);
}

Json to_json(const repository::SlotInfo& slot, const std::map<std::string, TimePoint>& opened) {
  Json json;
  json["id"] = slot.name;
  json["kind"] = slot_kind(slot.provider);
  json["role"] = repository::role_name(slot.role);
  json["created"] = format_rfc3339(slot.created);
  const auto at = opened.find(slot.name);
  json["opened"] = at == opened.end() ? Json(nullptr) : Json(format_rfc3339(at->second));
  json["key"] = slot.service_key.empty() ? Json(nullptr) : Json(slot.service_key);
  json["note"] = slot.note.empty() ? Json(nullptr) : Json(slot.note);
  return json;
}

Json to_json(const std::vector<repository::SlotInfo>& slots, const std::map<std::string, TimePoint>& opened) {
  Json array = Json::array();
  for (const auto& slot : slots) array.push_back(to_json(slot, opened));
  return array;
}

std::string slots_table(const std::vector<repository::SlotInfo>& slots,
                        const std::map<std::string, TimePoint>& opened) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& slot : slots) {
    const auto at = opened.find(slot.name);
    const std::string tried = slot.provider == repository::KeyProvider::KeyFile ? "-"
                              : at == opened.end()                              ? "never"
                                                                                : readable_time(at->second);
    rows.push_back({slot.name, std::string(slot_kind(slot.provider)), std::string(repository::role_name(slot.role)),
                    readable_time(slot.created), tried,
                    slot.service_key.empty() ? slot.note : slot.service_key + (slot.note.empty() ? "" : ": ") + slot.note});
  }
  return text_table({"SLOT", "KIND", "ROLE", "CREATED", "FIRST OPENED", "NOTE"}, rows);
}

}  // namespace pgmint::cli
