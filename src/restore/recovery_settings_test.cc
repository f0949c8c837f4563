#include "restore/recovery_settings.h"

#include <gtest/gtest.h>

namespace pgmint::restore {
namespace {

std::optional<std::string> value_of(const std::vector<postgres::Setting>& settings, std::string_view name) {
  for (const auto& s : settings)
    if (s.name == name) return s.value;
  return std::nullopt;
}

TEST(RecoverySettings, ExactlyOneTargetIsNamed) {
  Target target;
  target.kind = TargetKind::Time;
  target.time = *parse_time("2026-11-22 08:40:01.5+00");
  target.exclusive = true;
  const auto settings = recovery_settings(target, Action::Pause, postgres::TimelineId(4), "pgmint wal get %f %p", false);
  EXPECT_EQ(value_of(settings, "recovery_target_time"), "2026-11-22 08:40:01.500000+00");
  EXPECT_EQ(value_of(settings, "recovery_target_inclusive"), "off");
  EXPECT_EQ(value_of(settings, "recovery_target_action"), "pause");
  EXPECT_EQ(value_of(settings, "recovery_target_timeline"), "4");
  for (auto other : {"recovery_target", "recovery_target_lsn", "recovery_target_xid", "recovery_target_name", "archive_mode"})
    EXPECT_FALSE(value_of(settings, other)) << other;
}

TEST(RecoverySettings, ImmediateIsThePlaceThatAStandbysBackupNames) {
  Target immediate;
  immediate.kind = TargetKind::Immediate;
  repository::ManifestRoot root;
  EXPECT_EQ(recovery_target(immediate, root).kind, TargetKind::Immediate) << "a primary's backup always has a record behind it";
  root.settings.emplace_back("consistent_after", "0/5000060");
  const auto settings = recovery_settings(recovery_target(immediate, root), Action::Promote, postgres::TimelineId(1), "x", false);
  EXPECT_EQ(value_of(settings, "recovery_target_lsn"), "0/5000060");
  EXPECT_EQ(value_of(settings, "recovery_target_inclusive"), "on") << "that record is needed";
  EXPECT_FALSE(value_of(settings, "recovery_target"));
  EXPECT_EQ(recovery_target({}, root).kind, TargetKind::Latest) << "other targets stay what they are";
}

TEST(RecoverySettings, ACloneIsCutOffFromItsOrigin) {
  const auto settings = recovery_settings({}, Action::Promote, postgres::TimelineId(1), "x", true);
  EXPECT_EQ(value_of(settings, "archive_mode"), "off");
  EXPECT_EQ(value_of(settings, "primary_conninfo"), "");
  EXPECT_EQ(value_of(settings, "primary_slot_name"), "");
  EXPECT_EQ(value_of(settings, "max_logical_replication_workers"), "0");
}

TEST(RecoverySettings, WhatTheBackupCarriedDoesNotFight) {
  const auto text = recovery_auto_conf("work_mem = '8MB'\nrecovery_target_xid = '7'\nprimary_conninfo = 'host=prod'\narchive_mode = 'on'\n",
                                       recovery_settings({}, Action::Promote, postgres::TimelineId(1), "x", true), "b");
  ASSERT_TRUE(text);
  EXPECT_EQ(postgres::find_setting(*text, "work_mem"), "8MB");
  EXPECT_FALSE(postgres::find_setting(*text, "recovery_target_xid"));
  EXPECT_EQ(text->find("host=prod"), std::string::npos);
  EXPECT_EQ(postgres::find_setting(*text, "archive_mode"), "off");
}

TEST(RecoverySettings, ConfigurationFromOutsideDoesNotPointBack) {
  const auto text = usable_main_conf("data_directory = '/var/lib/postgresql/15/main'\nport = 5433\nhba_file='/etc/x'\n", true);
  EXPECT_FALSE(postgres::find_setting(text, "data_directory"));
  EXPECT_FALSE(postgres::find_setting(text, "hba_file"));
  EXPECT_EQ(postgres::find_setting(text, "port"), "5433");
}

}  // namespace
}  // namespace pgmint::restore
