// What a dump says of its database itself (settings, grants, comment), for a database of another name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pgmint::logical {

/// As SQL writes an identifier: in quotes.
std::string sql_name(std::string_view name);

/// The statements of `sql` as pg_dump writes them, each without its semicolon, with `to` in the place of database `from` where a statement is about that
/// one. Text in quotes is never touched. Source: dumpDatabase() and buildACLCommands() of PostgreSQL 13 to 18.
std::vector<std::string> database_statements(std::string_view sql, std::string_view from, std::string_view to);

/// It is about who may do what, which restoring without owners leaves out.
bool is_about_roles(std::string_view statement);

}  // namespace pgmint::logical
