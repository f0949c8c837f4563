#include "cli/contacts.h"

namespace pgmint::cli {

const std::vector<Key<service::Contact>>& contact_keys() {
  using T = service::Contact;
  static const std::vector<Key<T>> keys = {
      {"name", "text", "Who it is.", [](T& t, const Value& v) { return assign(t.name, v.text()); }},
      {"role", "text", "What for, such as \"database on call\".", [](T& t, const Value& v) { return assign(t.role, v.text()); }},
      {"address", "text", "An e-mail address, or a page.", [](T& t, const Value& v) { return assign(t.address, v.text()); }},
      {"phone", "text", "A number to call.", [](T& t, const Value& v) { return assign(t.phone, v.text()); }},
  };
  return keys;
}

Status read_contacts(std::vector<service::Contact>& target, const Value& value) {
  const Place place{value.place.source, "[[contact]]", value.place.other_file};
  for (const auto* table : TRY(value.tables())) {
    service::Contact contact;
    TRY(read_table(*table, contact, contact_keys(), place));
    if (contact.name.empty()) return config_error(place, *table, "[[contact]] lacks \"name\"");
    target.push_back(std::move(contact));
  }
  return ok();
}

}  // namespace pgmint::cli
