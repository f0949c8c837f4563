#include "logical/database_sql.h"

#include <gtest/gtest.h>

namespace pgmint::logical {
namespace {

using Statements = std::vector<std::string>;

TEST(DatabaseSql, TheDatabaseIsRenamedAndNothingElse) {
  EXPECT_EQ(database_statements("ALTER DATABASE shop SET search_path TO 'app', 'public';\nALTER DATABASE shop CONNECTION LIMIT = 40;\n", "shop", "copy"),
            (Statements{"ALTER DATABASE \"copy\" SET search_path TO 'app', 'public'", "ALTER DATABASE \"copy\" CONNECTION LIMIT = 40"}));
  EXPECT_EQ(database_statements("ALTER ROLE shop IN DATABASE shop SET work_mem TO '64MB';", "shop", "copy"), (Statements{"ALTER ROLE shop IN DATABASE \"copy\" SET work_mem TO '64MB'"}));
  EXPECT_EQ(database_statements("REVOKE CONNECT,TEMPORARY ON DATABASE shop FROM PUBLIC;\nGRANT CONNECT ON DATABASE shop TO shop;\n", "shop", "copy"),
            (Statements{"REVOKE CONNECT,TEMPORARY ON DATABASE \"copy\" FROM PUBLIC", "GRANT CONNECT ON DATABASE \"copy\" TO shop"}));
}

TEST(DatabaseSql, TextInQuotesIsNeverTaken) {
  EXPECT_EQ(database_statements("COMMENT ON DATABASE shop IS 'DATABASE shop; it''s \"the\" one;';", "shop", "copy"),
            (Statements{"COMMENT ON DATABASE \"copy\" IS 'DATABASE shop; it''s \"the\" one;'"}));
  EXPECT_EQ(database_statements("ALTER DATABASE shop SET a.b TO E'x\\'; DATABASE shop \\\\';ALTER DATABASE shop SET c TO 'd'", "shop", "copy"),
            (Statements{"ALTER DATABASE \"copy\" SET a.b TO E'x\\'; DATABASE shop \\\\'", "ALTER DATABASE \"copy\" SET c TO 'd'"}));
  EXPECT_EQ(database_statements("ALTER ROLE \"DATABASE shop\" IN DATABASE \"my \"\"shop\"\";\" SET x TO 'y';", "my \"shop\";", "a\"b"),
            (Statements{"ALTER ROLE \"DATABASE shop\" IN DATABASE \"a\"\"b\" SET x TO 'y'"}));
}

TEST(DatabaseSql, AnotherDatabaseStaysWhatItIs) {
  EXPECT_EQ(database_statements("ALTER DATABASE other SET x TO 'y';", "shop", "copy"), (Statements{"ALTER DATABASE other SET x TO 'y'"}));
  EXPECT_EQ(database_statements("ALTER DATABASE \"Shop\" SET x TO 'y';", "shop", "copy"), (Statements{"ALTER DATABASE \"Shop\" SET x TO 'y'"}));
  EXPECT_EQ(database_statements("SET SESSION AUTHORIZATION app;", "shop", "copy"), (Statements{"SET SESSION AUTHORIZATION app"}));
}

TEST(DatabaseSql, WhatIsCutOffEndsSomewhere) {
  for (const auto* sql : {"", " ;; ;", "ALTER DATABASE", "ALTER DATABASE ", "ALTER DATABASE \"shop", "COMMENT ON DATABASE shop IS 'x", "E'", "E'\\", "\""})
    for (const auto& statement : database_statements(sql, "shop", "copy")) EXPECT_FALSE(statement.empty()) << sql;
}

TEST(DatabaseSql, WhatIsAboutRolesIsKnown) {
  for (const auto* statement : {"GRANT CONNECT ON DATABASE a TO b", "REVOKE ALL ON DATABASE a FROM PUBLIC", "ALTER ROLE a IN DATABASE b SET x TO 'y'"}) EXPECT_TRUE(is_about_roles(statement));
  for (const auto* statement : {"ALTER DATABASE a SET x TO 'y'", "COMMENT ON DATABASE a IS 'GRANT '"}) EXPECT_FALSE(is_about_roles(statement));
}

}  // namespace
}  // namespace pgmint::logical
