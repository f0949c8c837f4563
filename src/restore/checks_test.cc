#include "restore/checks.h"

#include <gtest/gtest.h>

#include "postgres/contents.h"

namespace pgmint::restore {
namespace {

using policy::CheckState;

repository::ManifestRoot backup() {
  repository::ManifestRoot root;
  root.pg_major = 15;
  root.settings = {{"libc_version", "2.36"}, {std::string(postgres::kContentsSetting), "{}"}, {std::string(postgres::kExtensionSetting), "pgcrypto 1.3 in shop"}, {std::string(postgres::kExtensionSetting), "plpgsql 1.0 in shop"}};
  return root;
}
Host host() { return {fs::path("/usr/lib/postgresql/15/bin"), fs::path("/usr/share/postgresql/15/extension"), "2.36"}; }

policy::Check named(const std::vector<policy::Check>& checks, std::string_view name) {
  for (const auto& check : checks)
    if (check.name == name) return check;
  ADD_FAILURE() << "no check " << name;
  return {};
}
const auto kAll = [](const std::string&) { return true; };

TEST(HostChecks, AreAllWellOnTheHostThatTheBackupIsFrom) {
  for (const auto& check : check_host(backup(), host(), kAll)) EXPECT_EQ(check.state, CheckState::Ok) << check.name << ": " << check.detail;
}

TEST(HostChecks, AnotherLibraryIsAWarningThatNamesReindex) {
  auto there = host();
  there.libc_version = "2.28";
  const auto collations = named(check_host(backup(), there, kAll), "collations");
  EXPECT_EQ(collations.state, CheckState::Warning);
  for (const auto* word : {"REINDEX", "2.28", "2.36"}) EXPECT_NE(collations.detail.find(word), std::string::npos) << collations.detail;
}

TEST(HostChecks, AnOriginWithoutCollationsNeedsNone) {
  auto root = backup();
  root.settings.front().second.clear();
  for (const auto* collation : {"postgres=C.UTF-8 ", "a=b=C ", "shop=POSIX ", "shop=C.utf8"}) root.settings.emplace_back("database_collation", collation);
  EXPECT_EQ(named(check_host(root, host(), kAll), "collations").state, CheckState::Ok);
}

TEST(HostChecks, ALibraryWithoutAVersionIsNotC) {
  auto root = backup();
  root.settings.front().second.clear();
  EXPECT_EQ(named(check_host(root, host(), kAll), "collations").state, CheckState::Unknown) << "nothing says that it was C";
  root.settings.emplace_back("database_collation", "postgres=C.UTF-8 ");
  for (const auto* collation : {"shop=en_US.UTF-8 ", "C=de_DE.UTF-8 2.36", "C =Czech ", "shop=", "shop", ""}) {
    auto other = root;
    other.settings.emplace_back("database_collation", collation);
    // Settings without a value are as if they were not there.
    EXPECT_EQ(named(check_host(other, host(), kAll), "collations").state, *collation == 0 ? CheckState::Ok : CheckState::Unknown) << collation;
  }
}

TEST(HostChecks, ExtensionsOfADatabaseThatCouldNotBeReadAreNotNone) {
  auto root = backup();
  for (auto& [name, value] : root.settings)
    if (name == postgres::kContentsSetting) value = "incomplete";
  EXPECT_EQ(named(check_host(root, host(), kAll), "extensions").state, CheckState::Ok) << "what could not be counted was no database";
  root.settings.emplace_back(postgres::kDatabaseUnreadSetting, "\"shut\"");
  EXPECT_EQ(named(check_host(root, host(), kAll), "extensions").state, CheckState::Unknown);
  EXPECT_EQ(named(check_host(root, host(), [](const std::string&) { return false; }), "extensions").state, CheckState::Warning);
}

/// `icu_collations`: what the backup says of its databases.
repository::ManifestRoot sorted_by_icu(const std::string& icu_collations) {
  auto root = backup();
  root.settings.emplace_back("icu_version", "153.120");
  if (!icu_collations.empty()) root.settings.emplace_back(std::string(postgres::kIcuSetting), icu_collations);
  return root;
}

TEST(HostChecks, AnotherIcuIsAWarningThatNamesTheDatabases) {
  auto there = host();
  there.icu_version = "153.14";
  const auto icu = named(check_host(sorted_by_icu("\"shop\""), there, kAll), "collations of ICU");
  EXPECT_EQ(icu.state, CheckState::Warning);
  for (const auto* word : {"REINDEX", "REFRESH VERSION", "REFRESH COLLATION VERSION", "153.14", "153.120", "of shop"}) EXPECT_NE(icu.detail.find(word), std::string::npos) << icu.detail;
  there.icu_version = "153.120";
  EXPECT_EQ(named(check_host(sorted_by_icu("\"shop\""), there, kAll), "collations of ICU").state, CheckState::Ok);
  there.icu_version = "";
  EXPECT_EQ(named(check_host(sorted_by_icu("\"shop\""), there, kAll), "collations of ICU").state, CheckState::Warning);
  there.icu_version = std::nullopt;
  EXPECT_EQ(named(check_host(sorted_by_icu("\"shop\""), there, kAll), "collations of ICU").state, CheckState::Unknown);
}

TEST(HostChecks, IcuIsOfNoConcernWhereNothingIsSortedByIt) {
  auto there = host();
  there.icu_version = "153.14";
  const auto count = [&](const repository::ManifestRoot& root) {
    const auto checks = check_host(root, there, kAll);
    return std::ranges::count(checks, "collations of ICU", &policy::Check::name);
  };
  EXPECT_EQ(count(sorted_by_icu("none")), 0);
  EXPECT_EQ(count(backup()), 0) << "the origin has no ICU";
  EXPECT_EQ(count(sorted_by_icu("")), 1) << "an earlier build did not say";
  auto unread = sorted_by_icu("none");
  unread.settings.emplace_back(std::string(postgres::kDatabaseUnreadSetting), "\"shut\"");
  EXPECT_EQ(count(unread), 1) << "not every database was looked into";
}

TEST(HostChecks, AMissingExtensionIsNamedOnce) {
  const auto extensions = named(check_host(backup(), host(), [](const std::string& name) { return name != "pgcrypto"; }), "extensions");
  EXPECT_EQ(extensions.state, CheckState::Warning);
  EXPECT_NE(extensions.detail.find("pgcrypto"), std::string::npos);
  EXPECT_EQ(extensions.detail.find("plpgsql"), std::string::npos);
}

TEST(HostChecks, WhatTheBackupDoesNotSayIsUnknown) {
  auto root = backup();
  root.settings.clear();
  const auto checks = check_host(root, host(), kAll);
  EXPECT_EQ(named(checks, "extensions").state, CheckState::Unknown);
  EXPECT_EQ(named(checks, "collations").state, CheckState::Unknown);
}

TEST(HostChecks, AHostWithoutPostgresIsUnknown) {
  const auto checks = check_host(backup(), {std::nullopt, std::nullopt, "2.36"}, kAll);
  EXPECT_EQ(named(checks, "server programs").state, CheckState::Unknown);
  EXPECT_EQ(named(checks, "extensions").state, CheckState::Unknown);
}

}  // namespace
}  // namespace pgmint::restore
