// What stands in the databases of a server when a backup begins: what a restored one is held against later.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postgres/connection.h"

namespace pgmint::postgres {

struct TableFacts {
  std::string database, schema, name;
  std::int64_t estimate = -1;         ///< reltuples; below zero: never analysed
  std::optional<std::uint64_t> rows;  ///< counted
  bool count_failed = false;          ///< it was to be counted, and could not be
  bool operator==(const TableFacts&) const = default;
};

struct DatabaseContents {
  std::string name;
  std::uint64_t tables = 0;  ///< ordinary, partitioned and materialised, that are kept over a crash
  bool read = true;          ///< false: what stands in it is not known
  bool operator==(const DatabaseContents&) const = default;
};

struct Contents {
  std::vector<DatabaseContents> databases;  ///< that take connections and are no templates
  std::vector<TableFacts> tables;           ///< the largest, and those that were counted; sorted by name
  std::vector<std::string> extensions;      ///< "pgcrypto 1.3 in shop"
  /// Databases that sort by ICU, as a whole or in a column or an index; nullopt: nobody looked.
  std::optional<std::vector<std::string>> icu_databases{};
  std::vector<std::string> problems;        ///< what could not be looked at, and why

  const TableFacts* find(std::string_view database, std::string_view schema, std::string_view table) const;
};

inline constexpr std::size_t kTablesRecordedMax = 1000;

/// Names of settings of a manifest (docs/format/manifest.md).
inline constexpr std::string_view kContentsSetting = "contents", kExtensionSetting = "extension", kDatabaseTablesSetting = "database_tables",
                                  kDatabaseUnreadSetting = "database_unread", kTableSetting = "table", kIcuSetting = "icu_collations";

/// @param count  tables whose rows are counted, as "public.transactions", or "shop:public.transactions" in one database alone
/// @param count_limit  for each of these
/// @errors Postgres (the first connection), Cancelled; of a single database a problem
Result<Contents> read_contents(const ConnectOptions& connect, const std::vector<std::string>& count, std::chrono::seconds count_limit, const CancelToken* cancel);
/// Whether `pattern` of that form means this table.
bool names_table(std::string_view pattern, std::string_view database, std::string_view schema, std::string_view table);

/// Of the C library's locales: C, POSIX, C.UTF-8, which go by code points and have no versions.
bool sorts_alike_everywhere(std::string_view locale);

/// `"shop"."public"."t"`: any name, and back.
std::string quoted_names(const std::vector<std::string>& names);
std::optional<std::vector<std::string>> parse_quoted_names(std::string_view text);

/// As settings of a manifest.
std::vector<std::pair<std::string, std::string>> contents_settings(const Contents& contents);
/// nullopt: they do not say. Lines that cannot be read are passed over: they only ever make a later comparison say less.
std::optional<Contents> parse_contents_settings(const std::vector<std::pair<std::string, std::string>>& settings);

}  // namespace pgmint::postgres
