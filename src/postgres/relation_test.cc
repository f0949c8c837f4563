#include "postgres/relation.h"

#include <gtest/gtest.h>

namespace pgmint::postgres {
namespace {

RelationFileName named(std::uint32_t relation, Fork fork = Fork::Main, std::uint32_t segment = 0,
                       bool temporary = false) {
  return {Oid(relation), fork, segment, temporary};
}

TEST(RelationFileName, ReadsForksSegmentsAndTemporaries) {
  EXPECT_EQ(parse_relation_file_name("16384"), named(16384));
  EXPECT_EQ(parse_relation_file_name("16384.1"), named(16384, Fork::Main, 1));
  EXPECT_EQ(parse_relation_file_name("16384_fsm"), named(16384, Fork::FreeSpaceMap));
  EXPECT_EQ(parse_relation_file_name("16384_vm.12"), named(16384, Fork::VisibilityMap, 12));
  EXPECT_EQ(parse_relation_file_name("16384_init"), named(16384, Fork::Init));
  EXPECT_EQ(parse_relation_file_name("4294967295"), named(4294967295U));
  EXPECT_EQ(parse_relation_file_name("t3_16384"), named(16384, Fork::Main, 0, true));
  EXPECT_EQ(parse_relation_file_name("t0_16384_fsm.2"), named(16384, Fork::FreeSpaceMap, 2, true));
}

TEST(RelationFileName, RefusesEverythingElse) {
  for (auto name : {"",
                    "0",
                    "016384",
                    "16384.0",
                    "16384.01",
                    "16384.",
                    "16384_",
                    "16384_xx",
                    "16384_vmx",
                    "16384_vm_fsm",
                    "4294967296",
                    "99999999999999999999",
                    "16384.99999999999",
                    "-1",
                    "+1",
                    " 1",
                    "1 ",
                    "16384~",
                    "t_16384",
                    "t3_",
                    "t3",
                    "t3_016384",
                    "T3_16384",
                    "pg_filenode.map",
                    "PG_VERSION",
                    "pg_internal.init.123"})
    EXPECT_FALSE(parse_relation_file_name(name)) << name;
}

}  // namespace
}  // namespace pgmint::postgres
