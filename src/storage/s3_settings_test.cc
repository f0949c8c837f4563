#include "storage/s3_settings.h"

#include <gtest/gtest.h>

namespace pgmint::storage {
namespace {

using Grade = S3Finding::Grade;

std::optional<Bytes> xml(std::string_view text) { return to_bytes(as_bytes(text)); }

Grade grade(const Result<std::vector<S3Finding>>& found) {
  EXPECT_TRUE(found) << found.failure().describe();
  EXPECT_EQ(found->size(), 1u);
  return found->front().grade;
}

std::string rule(std::string_view what, std::string_view filter = "", std::string_view status = "Enabled") {
  return fmt::format("<LifecycleConfiguration><Rule><ID>r</ID>{}<Status>{}</Status>{}</Rule></LifecycleConfiguration>", filter, status, what);
}

TEST(S3Settings, RulesThatTakeObjectsAwayAreFound) {
  const auto judged = [](const std::string& text) { return grade(judge_lifecycle(xml(text), "prod/")); };
  EXPECT_EQ(grade(judge_lifecycle(std::nullopt, "prod/")), Grade::Fine);
  EXPECT_EQ(judged(rule("<Expiration><Days>30</Days></Expiration>")), Grade::Bad);
  EXPECT_EQ(judged(rule("<Expiration><Date>2026-01-01T00:00:00Z</Date></Expiration>", "<Filter><Prefix>prod/</Prefix></Filter>")), Grade::Bad);
  EXPECT_EQ(judged(rule("<Expiration><Days>30</Days></Expiration>", "<Filter><And><Prefix>prod/c/</Prefix><Tag/></And></Filter>")), Grade::Bad) << "a part of it";
  EXPECT_EQ(judged(rule("<Expiration><Days>30</Days></Expiration>", "<Prefix>pr</Prefix>")), Grade::Bad) << "the old form, and more than it";
  EXPECT_EQ(judged(rule("<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>")), Grade::Bad);
  EXPECT_EQ(judged(rule("<Transition><Days>1</Days><StorageClass>STANDARD_IA</StorageClass></Transition>")), Grade::Warning);
  EXPECT_EQ(judged(rule("<Expiration><Days>30</Days></Expiration>", "<Filter><Prefix>logs/</Prefix></Filter>")), Grade::Fine) << "somebody else's";
  EXPECT_EQ(judged(rule("<Expiration><Days>30</Days></Expiration>", "", "Disabled")), Grade::Fine);
  EXPECT_EQ(judged(rule("<NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>")), Grade::Fine);
  EXPECT_EQ(judged(rule("<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration>")), Grade::Warning) << "gone before anybody looks";
  EXPECT_EQ(judged(rule("<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>")), Grade::Fine);
  EXPECT_EQ(judged(rule("<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>")), Grade::Fine);
}

TEST(S3Settings, VersioningAndLock) {
  EXPECT_EQ(grade(judge_versioning(std::nullopt)), Grade::Fine);
  EXPECT_EQ(grade(judge_versioning(xml("<VersioningConfiguration/>"))), Grade::Fine);
  EXPECT_EQ(grade(judge_versioning(xml("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"))), Grade::Fine);
  EXPECT_EQ(grade(judge_versioning(xml("<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"))), Grade::Warning);
  EXPECT_EQ(grade(judge_object_lock(std::nullopt, false)), Grade::Fine);
  EXPECT_EQ(grade(judge_object_lock(xml("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"), false)), Grade::Fine);
  EXPECT_EQ(grade(judge_object_lock(xml("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode>"
                                        "<Days>7</Days></DefaultRetention></Rule></ObjectLockConfiguration>"), false)),
            Grade::Warning);
  EXPECT_EQ(grade(judge_object_lock(std::nullopt, true)), Grade::Bad);
  EXPECT_EQ(grade(judge_object_lock(xml("<ObjectLockConfiguration/>"), true)), Grade::Bad);
  EXPECT_EQ(grade(judge_object_lock(xml("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"), true)), Grade::Fine);
}

TEST(S3Settings, WhatIsNoAnswerIsNoGoodNews) {
  for (const char* text : {"", "<html/>", "<Error><Code>AccessDenied</Code></Error>", "<LifecycleConfiguration><Rule>"}) {
    EXPECT_FALSE(judge_versioning(xml(text))) << text;
    EXPECT_FALSE(judge_object_lock(xml(text), false)) << text;
    EXPECT_FALSE(judge_lifecycle(xml(text), "")) << text;
  }
}

}  // namespace
}  // namespace pgmint::storage
