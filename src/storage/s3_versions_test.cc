#include "storage/s3_versions.h"

#include <gtest/gtest.h>

#include "http/testing_server.h"
#include "storage/instant_clock.h"
#include "storage/s3_store.h"

namespace pgmint::storage {
namespace {

using http::reply;
using http::ScriptedServer;

std::string line_of(const std::string& request) { return request.substr(0, request.find('\r')); }
std::string error_body(std::string_view code) { return fmt::format("<Error><Code>{}</Code></Error>", code); }

std::unique_ptr<S3Store> open_at(const ScriptedServer& server, Clock& clock, std::string url = "s3://bucket/prefix") {
  S3Options options;
  options.url = std::move(url);
  options.endpoint = server.url();
  options.path_style = true;
  auto store = open_s3_store(options, http::make_client({}), http::fixed_credentials({"KEY", "secret", "", {}, "test"}), clock);
  EXPECT_TRUE(store) << store.failure().describe();
  return std::move(*store);
}

std::string version(std::string_view key, std::string_view id, bool latest = false) {
  return fmt::format("<Version><Key>{}</Key><VersionId>{}</VersionId><IsLatest>{}</IsLatest><LastModified>2026-11-27T08:28:13.066Z</LastModified><ETag>&quot;e-{}&quot;</ETag><Size>3</Size></Version>", key, id, latest, id);
}
std::string marker(std::string_view key, std::string_view id) {
  return fmt::format("<DeleteMarker><Key>{}</Key><VersionId>{}</VersionId><IsLatest>true</IsLatest><LastModified>2026-11-27T09:00:00Z</LastModified></DeleteMarker>", key, id);
}
std::string listing(const std::string& content, std::string_view root = "ListVersionsResult") { return fmt::format("<{}>{}</{}>", root, content, root); }

TEST(S3Versions, AListingTellsVersionsAndMarkersApart) {
  for (const char* root : {"ListVersionsResult", "ListVersionResult"}) {
    const auto page = parse_s3_versions(as_bytes(listing("<IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>" + marker("a", "2") + version("a", "1"), root)));
    ASSERT_TRUE(page) << page.failure().describe();
    ASSERT_EQ(page->versions.size(), 2u);
    EXPECT_TRUE(page->versions[0].marker && page->versions[0].latest);
    EXPECT_FALSE(page->versions[1].marker);
    EXPECT_EQ(page->versions[1].etag, "e-1");
    EXPECT_EQ(page->versions[1].modified, *parse_time("2026-11-27T08:28:13.066Z"));
    EXPECT_EQ(page->next_key, "a");
    EXPECT_EQ(page->next_id, "1");
  }
  // What is cut short, or no listing at all, must never look like "nothing is there".
  for (const std::string& wrong : {std::string("<html/>"), std::string(), listing("<Version><Key>a</Key></Version>"), listing("<IsTruncated>true</IsTruncated>")})
    EXPECT_FALSE(parse_s3_versions(as_bytes(wrong))) << wrong;
}

TEST(S3Versions, RetentionIsReadWithWhateverDigitsItsTimeHas) {
  for (const char* time : {"2027-12-01T00:00:00Z", "2027-12-01T00:00:00.000Z", "2027-12-01T00:00:00.000000000Z"}) {
    const auto lock = parse_s3_retention(as_bytes(fmt::format("<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>", time)));
    ASSERT_TRUE(lock) << time;
    EXPECT_EQ(*lock, (ObjectLock{LockMode::Compliance, *parse_time("2027-12-01T00:00:00Z")}));
    EXPECT_EQ(s3_lock_time(lock->until), "2027-12-01T00:00:00Z");
  }
  EXPECT_FALSE(parse_s3_retention(as_bytes("<Retention><Mode>ELSE</Mode><RetainUntilDate>2027-12-01T00:00:00Z</RetainUntilDate></Retention>")));
  EXPECT_FALSE(parse_s3_retention(as_bytes("<Retention><Mode>GOVERNANCE</Mode></Retention>")));
}

/// A bucket with versioning, as far as removals go. A stand-in: what RGW does is in tests/integration/test_versions.py.
class VersionedBucket {
 public:
  http::ScriptedReply answer(const std::string& request) {
    const auto line = line_of(request);
    if (line.starts_with("GET /bucket/?versioning=")) return reply(200, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>");
    if (line.starts_with("GET /bucket/?versions=")) return may_list ? reply(200, listing(content)) : reply(403, error_body("AccessDenied"));
    if (line.starts_with("POST ")) {
      bool all = true;
      for (const auto& id : locked) all = all && request.find(fmt::format("<VersionId>{}</VersionId>", id)) == std::string::npos;
      if (request.find("<VersionId>") != std::string::npos && !may_remove) all = false;
      return reply(200, all ? "<DeleteResult/>" : "<DeleteResult><Error><Key>x</Key><Code>AccessDenied</Code></Error></DeleteResult>");
    }
    if (line.starts_with("DELETE ") && line.find("versionId=") != std::string::npos) {
      for (const auto& id : locked)
        if (line.find("versionId=" + id) != std::string::npos) return reply(403, error_body("AccessDenied"));
      return may_remove ? reply(204) : reply(403, error_body("AccessDenied"));
    }
    if (line.starts_with("GET ") && line.find("retention=") != std::string::npos) {
      for (const auto& id : locked)
        if (line.find("versionId=" + id) != std::string::npos) return reply(200, "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>");
      return reply(404, error_body("NoSuchObjectLockConfiguration"));
    }
    return reply(204);
  }
  std::string content;
  std::vector<std::string> locked;
  bool may_list = true, may_remove = true;
};

std::size_t count(const std::vector<std::string>& requests, std::string_view what) {
  return static_cast<std::size_t>(std::ranges::count_if(requests, [&](const auto& each) { return each.find(what) != std::string::npos; }));
}

TEST(S3Versions, RemovingANameRemovesAllThatStandsBehindIt) {
  VersionedBucket bucket;
  bucket.content = marker("prefix/p/a", "m1") + version("prefix/p/a", "v2") + version("prefix/p/a", "v1") + version("prefix/p/ab", "v3", true);
  ScriptedServer server([&](const std::string& request) { return bucket.answer(request); });
  InstantClock clock;
  auto store = open_at(server, clock);
  ASSERT_TRUE(store->remove("p/a"));
  const auto requests = server.requests();
  const auto removal = requests.back();
  EXPECT_EQ(line_of(removal), "POST /bucket/?delete= HTTP/1.1");
  for (const char* id : {"m1", "v2", "v1"}) EXPECT_NE(removal.find(fmt::format("<Key>prefix/p/a</Key><VersionId>{}</VersionId>", id)), std::string::npos) << id;
  EXPECT_EQ(removal.find("v3"), std::string::npos) << "of another name";
  EXPECT_EQ(count(requests, "DELETE /bucket/prefix/p/a HTTP"), 0u) << "no marker is made";
}

TEST(S3Versions, WhoMayNotRemoveVersionsHidesNames) {
  for (const bool may_list : {false, true}) {
    VersionedBucket bucket;
    bucket.content = version("prefix/p/a", "v1", true);
    bucket.may_list = may_list;
    bucket.may_remove = false;
    ScriptedServer server([&](const std::string& request) { return bucket.answer(request); });
    InstantClock clock;
    auto store = open_at(server, clock);
    ASSERT_TRUE(store->remove("p/a"));
    EXPECT_EQ(line_of(server.requests().back()), "DELETE /bucket/prefix/p/a HTTP/1.1") << may_list;
    const auto before = server.requests().size();
    ASSERT_TRUE(store->remove("p/a"));
    EXPECT_EQ(server.requests().size(), before + 1) << "it is not tried again";
  }
}

TEST(S3Versions, WhatIsLockedStaysAndIsSaid) {
  VersionedBucket bucket;
  bucket.content = version("prefix/p/a", "v1", true) + version("prefix/p/b", "v2", true);
  bucket.locked = {"v2"};
  ScriptedServer server([&](const std::string& request) { return bucket.answer(request); });
  InstantClock clock;
  auto store = open_at(server, clock);
  const auto locked = store->remove_unlocked(std::vector<std::string>{"p/a", "p/b"});
  ASSERT_TRUE(locked) << locked.failure().describe();
  EXPECT_EQ(*locked, std::vector<std::string>{"p/b"});
  EXPECT_EQ(count(server.requests(), "DELETE /bucket/prefix/p/b HTTP"), 0u) << "what is locked is not hidden: it would be forgotten";
  // What nobody comes back for is hidden.
  ASSERT_TRUE(store->remove("p/b"));
  EXPECT_EQ(count(server.requests(), "DELETE /bucket/prefix/p/b HTTP"), 1u);
}

TEST(S3Versions, ALockIsSetByVersionAndWhatIsGoneIsSaid) {
  http::ScriptedReply next = reply(200);
  ScriptedServer server([&](const std::string&) { return next; });
  InstantClock clock;
  auto store = open_at(server, clock);
  const ObjectLock lock{LockMode::Compliance, *parse_time("2033-01-01T00:00:00Z")};
  ASSERT_TRUE(store->versions().lock("p/a", "v1", lock));
  const auto request = server.requests().back();
  EXPECT_EQ(line_of(request), "PUT /bucket/prefix/p/a?retention=&versionId=v1 HTTP/1.1");
  EXPECT_NE(request.find("<Mode>COMPLIANCE</Mode><RetainUntilDate>2033-01-01T00:00:00Z</RetainUntilDate>"), std::string::npos) << request;
  EXPECT_NE(request.find("\r\ncontent-md5: "), std::string::npos);
  EXPECT_EQ(request.find("bypass"), std::string::npos) << "a lock is never shortened";
  const auto outcome = [&](http::ScriptedReply answer) {
    next = std::move(answer);
    const auto locked = store->versions().lock("p/a", "v1", lock);
    return locked ? Errc::Internal : locked.failure().code();
  };
  EXPECT_EQ(outcome(reply(404, error_body("NoSuchVersion"))), Errc::NotFound);
  EXPECT_EQ(outcome(reply(403, error_body("AccessDenied"))), Errc::Key);
  EXPECT_EQ(outcome(reply(400, error_body("InvalidRequest"))), Errc::Precondition);
  EXPECT_NE(outcome(reply(404, error_body("NoSuchBucket"))), Errc::NotFound) << "a bucket that is gone is no object that is gone";
}

TEST(S3Versions, OnlyATrialBypassesLocks) {
  int status = 204;
  ScriptedServer server([&](const std::string&) { return reply(status, status == 204 ? "" : error_body("AccessDenied")); });
  InstantClock clock;
  auto store = open_at(server, clock);
  ObjectVersion one;
  one.name = "probe/a";
  one.id = "v1";
  EXPECT_TRUE(*store->versions().remove_bypassing(one));
  EXPECT_NE(server.requests().back().find("\r\nx-amz-bypass-governance-retention: true\r\n"), std::string::npos);
  status = 403;
  EXPECT_FALSE(*store->versions().remove_bypassing(one));
  status = 204;
  ASSERT_TRUE(store->versions().remove({&one, 1}));
  EXPECT_EQ(server.requests().back().find("bypass"), std::string::npos);
}

TEST(S3Versions, ABucketWithoutVersionsIsAskedOnce) {
  ScriptedServer server([](const std::string& request) { return request.starts_with("GET /bucket/?versioning=") ? reply(200, "<VersioningConfiguration/>") : reply(204); });
  InstantClock clock;
  auto store = open_at(server, clock);
  ASSERT_TRUE(store->remove("a"));
  ASSERT_TRUE(store->remove("b"));
  EXPECT_EQ(server.requests().size(), 3u);
  EXPECT_FALSE(*store->is_versioned());
}

TEST(S3Versions, WhileItIsNotKnownWhetherThereAreVersionsNothingIsHidden) {
  ScriptedServer server([](const std::string& request) { return request.starts_with("GET /bucket/?versioning=") ? reply(503, error_body("SlowDown")) : reply(204); });
  InstantClock clock;
  auto store = open_at(server, clock);
  EXPECT_FALSE(store->remove("p/a"));
  EXPECT_EQ(count(server.requests(), "DELETE "), 0u);
}

/// What a bucket answers to one who creates p/a in it: its version is "mine".
class ContendedName {
 public:
  bool known = false;  ///< that the bucket keeps versions
  Result<Created> create(std::string content, bool versioned = true, bool lists = true) {
    server.emplace([=](const std::string& request) -> http::ScriptedReply {
      if (request.starts_with("PUT ") && request.find("x-amz-copy-source") != std::string::npos) return reply(200, "<CopyObjectResult/>");
      if (request.starts_with("PUT ")) return reply(200, "", versioned ? "x-amz-version-id: mine\r\n" : "");
      if (request.starts_with("GET /bucket/?versions=")) return lists ? reply(200, listing(content)) : reply(503, error_body("SlowDown"));
      return reply(404, error_body("NoSuchKey"));
    });
    S3Options options;
    options.url = "s3://bucket/prefix";
    options.endpoint = server->url();
    options.path_style = true;
    options.decided_by_versions = [](const std::string& name) { return name == "p/a"; };
    options.keeps_versions = known;
    store = *open_s3_store(options, http::make_client({}), http::fixed_credentials({"KEY", "secret", "", {}, "test"}), clock);
    return store->create("p/a", as_bytes("content"));
  }
  std::string last() { return server->requests().back(); }
  std::optional<ScriptedServer> server;
  InstantClock clock;
  std::unique_ptr<S3Store> store;
};

TEST(S3Versions, TheOldestVersionIsWhatWasCreated) {
  ContendedName name;
  EXPECT_EQ(*name.create(version("prefix/p/a", "later", true) + version("prefix/p/a", "mine")), Created::Yes);
  EXPECT_EQ(name.last().find("copy-source"), std::string::npos);
  EXPECT_EQ(*name.create(version("prefix/p/a", "mine", true) + version("prefix/p/a", "theirs")), Created::AlreadyExists);
  EXPECT_NE(name.last().find("x-amz-copy-source: /bucket/prefix/p/a?versionId=theirs"), std::string::npos) << "theirs is read again";
  EXPECT_EQ(*name.create(version("prefix/p/a", "mine", true) + marker("prefix/p/a", "m") + version("prefix/p/a", "removed")), Created::Yes) << "what was removed before does not count";
  EXPECT_EQ(*name.create(version("prefix/p/a", "mine", true) + version("prefix/p/ab", "another")), Created::Yes);
}

TEST(S3Versions, WithoutVersionsTheServiceDecidesAndNothingMoreIsAsked) {
  ContendedName name;
  EXPECT_EQ(*name.create("", false), Created::Yes);
  EXPECT_EQ(name.server->requests().size(), 1u);
}

TEST(S3Versions, WhoCannotFindOutWhoCreatedItDoesNotTakeItsOwnBytesForAnAnswer) {
  ContendedName name;
  EXPECT_EQ(name.create("", true, false).failure().code(), Errc::Io);
  EXPECT_EQ(name.create(version("prefix/p/a", "theirs", true)).failure().code(), Errc::Io) << "its own version is not listed";
}

TEST(S3Versions, WhereVersionsAreKnownItIsLookedForBeforeTheFirstAnswerTellsOfThem) {
  ContendedName name;
  name.known = true;
  ASSERT_TRUE(name.create(version("prefix/p/a", "mine", true)));
  EXPECT_EQ(line_of(name.server->requests().front()), "GET /bucket/prefix/p/a HTTP/1.1");
}

TEST(S3Versions, OnceVersionsAreSeenItIsLookedForFirst) {
  ContendedName name;
  ASSERT_TRUE(name.create(version("prefix/p/a", "mine", true)));
  ASSERT_TRUE(name.store->create("p/a", as_bytes("content")));
  EXPECT_EQ(line_of(name.server->requests()[2]), "GET /bucket/prefix/p/a HTTP/1.1");
}

TEST(S3Versions, BringsBackAndTellsACopyThatFailedInTheMiddle) {
  bool whole = true;
  ScriptedServer server([&](const std::string&) { return reply(200, whole ? "<CopyObjectResult/>" : error_body("InternalError")); });
  InstantClock clock;
  auto store = open_at(server, clock, "s3://bucket/team a");
  ASSERT_TRUE(store->versions().bring_back("p/a", "v+1"));
  EXPECT_NE(server.requests().back().find("x-amz-copy-source: /bucket/team%20a/p/a?versionId=v%2B1\r\n"), std::string::npos) << server.requests().back();
  whole = false;
  EXPECT_FALSE(store->versions().bring_back("p/a", "v+1"));
}

}  // namespace
}  // namespace pgmint::storage
