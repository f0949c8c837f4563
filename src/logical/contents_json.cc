// Names in a logical backup, and contents.json. Format: docs/format/logical.md.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "logical/dump.h"

namespace pgmint::logical {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kNumberMax = std::uint64_t{1} << 50;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// What JSON can hold: nothing is left out of it when it is written.
bool is_utf8(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::ignore)).get<std::string>() == text;
}

/// Each byte as the character of its number.
std::string widened(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) text += c;
    else text += {static_cast<char>(0xC0 | byte >> 6), static_cast<char>(0x80 | (byte & 0x3F))};
  }
  return text;
}

Result<std::string> narrowed(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first < 0x80) {
      bytes += text[i];
    } else if ((first == 0xC2 || first == 0xC3) && i + 1 < text.size()) {
      bytes += static_cast<char>((first & 3) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3F));
    } else {
      return Error(Errc::Corruption, "contents of a dump: a name is no row of bytes");
    }
  }
  return bytes;
}

Json encode_entry(const DumpEntry& entry) {
  const bool bytes = !(is_utf8(entry.kind) && is_utf8(entry.schema) && is_utf8(entry.name) && is_utf8(entry.owner));
  const auto text = [&](const std::string& name) { return bytes ? widened(name) : name; };
  Json json = {{"id", entry.id}, {"kind", text(entry.kind)}, {"schema", text(entry.schema)}, {"name", text(entry.name)}, {"owner", text(entry.owner)},
               {"section", static_cast<int>(entry.section)}};
  if (bytes) json["bytes"] = true;
  if (!entry.needs.empty()) json["needs"] = entry.needs;
  if (entry.length != 0) {
    json["offset"] = entry.offset;
    json["length"] = entry.length;
  }
  if (entry.rows) json["rows"] = *entry.rows;
  return json;
}

std::uint64_t number(const Json& json, const char* name) {
  const auto value = json.at(name).get<std::uint64_t>();
  if (value > kNumberMax) throw std::out_of_range(name);
  return value;
}

Result<DumpEntry> parse_entry(const Json& json) {
  DumpEntry entry;
  entry.id = json.at("id").get<std::int64_t>();
  entry.kind = json.at("kind").get<std::string>();
  entry.schema = json.at("schema").get<std::string>();
  entry.name = json.at("name").get<std::string>();
  entry.owner = json.at("owner").get<std::string>();
  if (json.value("bytes", false))
    for (auto* text : {&entry.kind, &entry.schema, &entry.name, &entry.owner}) *text = TRY(narrowed(*text));
  const auto section = json.at("section").get<int>();
  if (section < 1 || section > 4) throw std::out_of_range("section");
  entry.section = static_cast<DumpSection>(section);
  if (json.contains("needs")) entry.needs = json.at("needs").get<std::vector<std::int64_t>>();
  if (json.contains("length")) {
    entry.offset = number(json, "offset");
    entry.length = number(json, "length");
  }
  if (json.contains("rows")) entry.rows = number(json, "rows");
  return entry;
}

}  // namespace

std::string database_directory(std::string_view database) {
  std::string directory;
  for (const char c : database) {
    if (is_plain(c)) directory += c;
    else directory += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return directory;
}

std::string database_of(std::string_view directory) {
  std::string name;
  for (std::size_t i = 0; i < directory.size(); ++i) {
    const bool escaped = directory[i] == '%' && i + 2 < directory.size() && hex_digit(directory[i + 1]) >= 0 && hex_digit(directory[i + 2]) >= 0;
    if (!escaped) {
      name += directory[i];
      continue;
    }
    name += static_cast<char>(hex_digit(directory[i + 1]) << 4 | hex_digit(directory[i + 2]));
    i += 2;
  }
  return name;
}

std::string encode_contents(const DumpContents& contents) {
  Json entries = Json::array();
  for (const auto& entry : contents.entries) entries.push_back(encode_entry(entry));
  const auto text = [](const std::string& bytes) { return is_utf8(bytes) ? bytes : widened(bytes); };
  const Json json = {{"database", text(contents.database)},
                     {"server_version", text(contents.server_version)},
                     {"dump_version", text(contents.dump_version)},
                     {"archive_version", contents.archive_version},
                     {"create_database", text(contents.create_database)},
                     {"compressed", contents.compressed},
                     {"data_start", contents.data_start},
                     {"length", contents.length},
                     {"entries", std::move(entries)}};
  return json.dump() + "\n";
}

Result<DumpContents> parse_contents(std::string_view text) {
  try {
    const auto json = Json::parse(text);
    DumpContents contents;
    contents.database = json.at("database").get<std::string>();
    contents.server_version = json.at("server_version").get<std::string>();
    contents.dump_version = json.at("dump_version").get<std::string>();
    contents.archive_version = json.at("archive_version").get<std::string>();
    contents.create_database = json.value("create_database", "");
    contents.compressed = json.value("compressed", false);
    contents.data_start = number(json, "data_start");
    contents.length = number(json, "length");
    if (contents.data_start > contents.length) throw std::out_of_range("data_start");
    for (const auto& one : json.at("entries")) {
      contents.entries.push_back(TRY(parse_entry(one)));
      const auto& entry = contents.entries.back();
      if (entry.length != 0 && (entry.offset < contents.data_start || entry.offset + entry.length > contents.length)) throw std::out_of_range("offset");
    }
    return contents;
  } catch (const std::exception& problem) {
    return Error(Errc::Corruption, fmt::format("contents of a dump: {}", problem.what()));
  }
}

}  // namespace pgmint::logical
