#include "storage/s3_store.h"

#include <gtest/gtest.h>

#include <map>

#include "base/guarded.h"
#include "http/testing_server.h"
#include "storage/instant_clock.h"
#include "storage/retry_store.h"
#include "storage/s3_versions.h"

namespace pgmint::storage {
namespace {

using http::reply;
using http::ScriptedReply;
using http::ScriptedServer;

std::string error_body(std::string_view code) { return fmt::format("<Error><Code>{}</Code></Error>", code); }

/// Gives numbered keys; a forgotten one is never given again.
class CountingCredentials final : public http::AwsCredentialSource {
 public:
  Result<http::AwsCredentials> get() override { return http::AwsCredentials{fmt::format("KEY{}", number_), "secret", "", {}, "test"}; }
  void forget(const http::AwsCredentials&) override { ++number_; }

 private:
  int number_ = 1;
};

std::unique_ptr<BlobStore> open_at(const ScriptedServer& server, Clock& clock, S3Options options = {}) {
  options.url = "s3://bucket/prefix";
  options.endpoint = server.url();
  options.path_style = true;
  http::ClientOptions client;
  client.stall_time_max = std::chrono::seconds(1);
  auto store = open_s3_store(options, http::make_client(client), std::make_unique<CountingCredentials>(), clock);
  EXPECT_TRUE(store) << store.failure().describe();
  return std::move(*store);
}

std::string line_of(const std::string& request) { return request.substr(0, request.find('\r')); }

TEST(S3Store, AWriteIsConditionalAndSigned) {
  ScriptedServer server([](const std::string&) { return reply(200); });
  InstantClock clock;
  S3Options options;
  options.storage_class = "STANDARD_IA";
  options.encryption = "aws:kms";
  options.kms_key_id = "alias/backups";
  auto store = open_at(server, clock, options);
  EXPECT_EQ(*store->create("c/1/log/0", as_bytes("content")), Created::Yes);
  const auto request = server.requests().front();
  EXPECT_EQ(line_of(request), "PUT /bucket/prefix/c/1/log/0 HTTP/1.1");
  for (const char* header : {"\r\nif-none-match: *\r\n", "\r\nx-amz-storage-class: STANDARD_IA\r\n", "\r\nx-amz-server-side-encryption: aws:kms\r\n",
                             "\r\nx-amz-server-side-encryption-aws-kms-key-id: alias/backups\r\n",
                             "\r\nx-amz-content-sha256: ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73\r\n"})
    EXPECT_NE(request.find(header), std::string::npos) << header << request;
  EXPECT_NE(request.find("SignedHeaders=content-type;host;if-none-match;"), std::string::npos) << request;
}

TEST(S3Store, AnAnswerSaysOnceWhatListingsWillCallTheObject) {
  ScriptedServer server([](const std::string& request) {
    return request.starts_with("PUT") && request.find("/taken ") == std::string::npos ? reply(200, "", "etag: \"0123\"\r\n") : reply(412, error_body("PreconditionFailed"), "etag: \"4567\"\r\n");
  });
  InstantClock clock;
  auto store = open_at(server, clock);
  ASSERT_EQ(*store->create("a", as_bytes("content")), Created::Yes);
  EXPECT_EQ(*store->create("taken", as_bytes("content")), Created::AlreadyExists);
  EXPECT_EQ(store->take_created_etag("a"), "0123");
  EXPECT_EQ(store->take_created_etag("a"), "");
  EXPECT_EQ(store->take_created_etag("taken"), "");
}

TEST(S3Store, ANewObjectIsLockedByTheStoresClock) {
  ScriptedServer server([](const std::string&) { return reply(200, "", "Date: Fri, 27 Nov 2026 12:00:00 GMT\r\n"); });
  InstantClock clock;
  S3Options options;
  options.lock = S3LockRule{LockMode::Compliance, std::chrono::days(35)};
  options.never_locked = {"probe/"};
  auto store = open_at(server, clock, options);
  const auto own = s3_lock_time(clock.now() + std::chrono::days(35));
  EXPECT_EQ(*store->create("format", as_bytes("content")), Created::Yes);
  const auto has = [&](const std::string& header) { return server.requests().back().find("\r\n" + header + "\r\n") != std::string::npos; };
  EXPECT_TRUE(has("x-amz-object-lock-mode: COMPLIANCE")) << server.requests().back();
  EXPECT_TRUE(has("x-amz-object-lock-retain-until-date: " + own)) << "the store has not told its time yet: " << server.requests().back();
  EXPECT_TRUE(has("content-md5: mgNkuembtIDdJeHwKEyFVQ==")) << server.requests().back();
  EXPECT_NE(server.requests().back().find("SignedHeaders=content-md5;"), std::string::npos);
  EXPECT_EQ(*store->create("c/1/p/00/1", as_bytes("content")), Created::Yes);
  const auto second = server.requests().back();
  const auto at = second.find("retain-until-date: ") + 19;
  const auto until = parse_time(second.substr(at, 20));
  ASSERT_TRUE(until) << second;
  EXPECT_NEAR(std::chrono::duration<double>(*until - *parse_time("2027-01-01T12:00:00Z")).count(), 0, 5) << "the store's time, and 35 days";
  EXPECT_EQ(*store->create("probe/1", as_bytes("content")), Created::Yes);
  EXPECT_EQ(server.requests().back().find("x-amz-object-lock"), std::string::npos) << "what goes again at once is not locked";
}

TEST(S3Store, ABucketWithoutObjectLockIsNamed) {
  ScriptedServer server([](const std::string&) { return reply(400, error_body("InvalidRequest")); });
  InstantClock clock;
  S3Options options;
  options.lock = S3LockRule{LockMode::Governance, std::chrono::days(35)};
  const auto created = open_at(server, clock, options)->create("format", as_bytes("content"));
  ASSERT_FALSE(created);
  EXPECT_EQ(created.failure().code(), Errc::Precondition);
  EXPECT_NE(created.failure().describe().find("without object lock"), std::string::npos) << created.failure().describe();
}

TEST(S3Store, OneWriterLooksBeforeItWritesWithoutACondition) {
  bool is_there = false;
  ScriptedServer server([&](const std::string& request) {
    if (request.starts_with("PUT ")) return reply(200);
    return is_there ? reply(206, "x", "Content-Range: bytes 0-0/7\r\n") : reply(404, error_body("NoSuchKey"));
  });
  InstantClock clock;
  S3Options options;
  options.one_writer = true;
  auto store = open_at(server, clock, options);
  EXPECT_EQ(*store->create("a", as_bytes("content")), Created::Yes);
  ASSERT_EQ(server.requests().size(), 2U);
  EXPECT_EQ(line_of(server.requests().back()), "PUT /bucket/prefix/a HTTP/1.1");
  EXPECT_EQ(server.requests().back().find("if-none-match"), std::string::npos);
  is_there = true;
  EXPECT_EQ(*store->create("a", as_bytes("others")), Created::AlreadyExists);
  EXPECT_EQ(server.requests().size(), 3U) << "nothing was written";
}

TEST(S3Store, WhatBecameOfAWriteIsUnknownUnlessTheStoreSaysIt) {
  Guarded<ScriptedReply> next;
  ScriptedServer server([&](const std::string&) { return next.with([](const auto& reply) { return reply; }); });
  InstantClock clock;
  auto store = open_at(server, clock);
  const auto outcome = [&](ScriptedReply answer) {
    next.with([&](auto& reply) { reply = std::move(answer); });
    auto created = store->create("a", as_bytes("x"));
    return created ? Errc::Internal : created.failure().code();
  };
  EXPECT_EQ(outcome(reply(500, error_body("InternalError"))), Errc::Unknown);
  EXPECT_EQ(outcome(reply(503, error_body("SlowDown"))), Errc::Unknown);
  EXPECT_EQ(outcome({"", false}), Errc::Unknown);
  EXPECT_EQ(outcome({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxx", false}), Errc::Unknown) << "an answer that was cut short is none";
  EXPECT_EQ(outcome(reply(409, error_body("ConditionalRequestConflict"))), Errc::Busy);
  EXPECT_EQ(outcome(reply(403, error_body("AccessDenied"))), Errc::Key);
  next.with([](auto& given) { given = reply(412, error_body("PreconditionFailed")); });
  EXPECT_EQ(*store->create("a", as_bytes("x")), Created::AlreadyExists);
}

/// A store with one object a name, whose answers a test spoils.
class SmallStore {
 public:
  ScriptedReply answer(const std::string& request) {
    const auto path = request.substr(4, request.find(' ', 4) - 4);
    if (request.starts_with("PUT ")) {
      if (!objects.emplace(path, request.substr(request.find("\r\n\r\n") + 4)).second) return reply(412, error_body("PreconditionFailed"));
      return reply(200);
    }
    const auto found = objects.find(path);
    return found == objects.end() ? reply(404, error_body("NoSuchKey")) : reply(200, found->second);
  }
  std::map<std::string, std::string> objects;
};

// Every way in which an answer to a create may go wrong, before or after it was carried out: behind the retrying store its creator is told the truth.
TEST(S3Store, ACreatorLearnsTheTruthWhateverHappensToTheAnswers) {
  const ScriptedReply spoiled[] = {{"", false},
                                   {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxx", false},
                                   reply(500, error_body("InternalError")),
                                   reply(503, error_body("SlowDown")),
                                   reply(503, "<html>gateway</html>"),
                                   reply(400, error_body("RequestTimeout"))};
  for (const auto& wrong : spoiled)
    for (const bool carried_out : {false, true})
      for (const bool twice : {false, true}) {
        SmallStore objects;
        int spoil = twice ? 2 : 1;
        ScriptedServer server([&](const std::string& request) {
          if (!request.starts_with("PUT ") || spoil == 0) return objects.answer(request);
          --spoil;
          if (carried_out) objects.answer(request);
          return wrong;
        });
        InstantClock clock;
        SeededRandom random(3);
        auto store = make_retry_store(open_at(server, clock), {}, clock, random);
        auto created = store->create("c/1/log/0", as_bytes("ours"));
        ASSERT_TRUE(created) << created.failure().describe();
        EXPECT_EQ(*created, Created::Yes) << wrong.bytes << carried_out << twice;
        EXPECT_EQ(objects.objects.at("/bucket/prefix/c/1/log/0"), "ours");
        auto again = store->create("c/1/log/0", as_bytes("others"));
        ASSERT_TRUE(again);
        EXPECT_EQ(*again, Created::AlreadyExists);
      }
}

TEST(S3Store, ExpiredCredentialsAreRenewedOnce) {
  ScriptedServer server([](const std::string& request) {
    return request.find("Credential=KEY1/") != std::string::npos ? reply(400, error_body("ExpiredToken")) : reply(200, "content");
  });
  InstantClock clock;
  auto store = open_at(server, clock);
  const auto content = store->read("a", 100);
  ASSERT_TRUE(content) << content.failure().describe();
  EXPECT_EQ(as_text(**content), "content");
  EXPECT_EQ(server.requests().size(), 2u);

  ScriptedServer never([](const std::string&) { return reply(400, error_body("ExpiredToken")); });
  auto refused = open_at(never, clock)->read("a", 100);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Key);
  EXPECT_EQ(never.requests().size(), 2u);
}

TEST(S3Store, SignsByTheStoresClockWhenOursIsRefused) {
  InstantClock clock;
  const auto there = format_compact(clock.now() + std::chrono::hours(3)).substr(0, 11);
  ScriptedServer server([&](const std::string& request) {
    if (request.find("x-amz-date: " + there) == std::string::npos)
      return reply(403, error_body("RequestTimeTooSkewed"), "Date: Fri, 15 Jan 2027 11:00:00 GMT\r\n");
    return reply(200, "content", "Date: Fri, 15 Jan 2027 11:00:00 GMT\r\n");
  });
  auto store = open_at(server, clock);
  EXPECT_FALSE(store->store_time());
  const auto content = store->read("a", 100);
  ASSERT_TRUE(content) << content.failure().describe();
  ASSERT_TRUE(store->store_time());
  EXPECT_EQ(*store->store_time(), *parse_time("2027-01-15T11:00:00Z"));
  ASSERT_TRUE(store->read("a", 100));
  EXPECT_EQ(server.requests().size(), 3u) << "it is known from then on";
}

TEST(S3Store, AListingIsReadPageByPageAndMustGoForward) {
  const auto page = [](std::string_view keys, std::string_view token) {
    std::string xml = fmt::format("<ListBucketResult><IsTruncated>{}</IsTruncated><NextContinuationToken>{}</NextContinuationToken>", !token.empty(), token);
    for (const char key : keys) xml += fmt::format("<Contents><Key>prefix/{}</Key><Size>1</Size></Contents>", key);
    return reply(200, xml + "</ListBucketResult>");
  };
  std::string second = "cd";
  ScriptedServer server([&](const std::string& request) {
    return line_of(request).find("continuation-token=to%2Bken") != std::string::npos ? page(second, "") : page("ab", "to+ken");
  });
  InstantClock clock;
  auto store = open_at(server, clock);
  const auto all = list_all(*store, "");
  ASSERT_TRUE(all) << all.failure().describe();
  EXPECT_EQ(all->size(), 4u);
  EXPECT_EQ(line_of(server.requests().front()), "GET /bucket/?list-type=2&max-keys=1000&prefix=prefix%2F HTTP/1.1");
  second = "ba";
  const auto back = list_all(*store, "");
  ASSERT_FALSE(back);
  EXPECT_EQ(back.failure().code(), Errc::Io);
}

TEST(S3Store, AnObjectOfUnknownLengthIsNotTaken) {
  ScriptedServer server([](const std::string&) { return ScriptedReply{"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe first half", false}; });
  InstantClock clock;
  const auto read = open_at(server, clock)->read("c/1/log/0", 100);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Storage);
}

TEST(S3Store, ALostAnswerToAReadIsAskedForAgain) {
  for (const ScriptedReply& wrong : {ScriptedReply{"", false}, ScriptedReply{"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ncon", false}, reply(500), reply(200, "<html/>")}) {
    ScriptedServer server([&](const std::string&) { return wrong; });
    InstantClock clock;
    auto store = open_at(server, clock);
    Bytes room(7);
    auto range = store->read_range("a", 0, room);
    ASSERT_FALSE(range);
    EXPECT_TRUE(range.failure().code() == Errc::Storage || range.failure().code() == Errc::Io) << range.failure().describe();
    auto listed = list_all(*store, "");
    ASSERT_FALSE(listed);
    EXPECT_EQ(listed.failure().code(), Errc::Storage) << listed.failure().describe();
  }
}

std::string varied(std::size_t size) {
  std::string text(size, 'x');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

/// What a store answers that has one object with this content.
auto ranges_of(const std::string& content) {
  return [&content](const std::string& request) {
    const auto at = request.find("range: bytes=") + 13;
    const std::uint64_t first = std::stoull(request.substr(at)), last = std::min<std::uint64_t>(std::stoull(request.substr(request.find('-', at) + 1)), content.size() - 1);
    if (first >= content.size()) return reply(416, error_body("InvalidRange"));
    return reply(206, content.substr(first, last - first + 1), fmt::format("Content-Range: bytes {}-{}/{}\r\n", first, last, content.size()));
  };
}

TEST(S3Store, ShortReadsOfOneObjectAreOneRequest) {
  const auto content = varied(200'000);
  ScriptedServer server(ranges_of(content));
  InstantClock clock;
  auto store = open_at(server, clock);
  for (const std::uint64_t offset : {0u, 10u, 5000u, 65'000u}) {
    Bytes out(500);
    ASSERT_TRUE(store->read_range("a", offset, out));
    EXPECT_EQ(as_text(out), content.substr(offset, 500));
  }
  EXPECT_EQ(server.requests().size(), 1u);
  Bytes across(1000);
  ASSERT_TRUE(store->read_range("a", 65'000, across));
  EXPECT_EQ(as_text(across), content.substr(65'000, 1000));
  EXPECT_EQ(server.requests().size(), 2u);
  Bytes tail(500);
  ASSERT_TRUE(store->read_range("a", content.size() - 500, tail));
  EXPECT_EQ(as_text(tail), content.substr(content.size() - 500));
  const auto beyond = store->read_range("a", content.size() - 499, tail);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.failure().code(), Errc::Corruption);
  EXPECT_EQ(server.requests().size(), 3u);
  Bytes large(150'000);
  ASSERT_TRUE(store->read_range("a", 7, large));
  EXPECT_EQ(as_text(large), content.substr(7, large.size()));
  EXPECT_EQ(server.requests().size(), 4u) << "a long read goes by itself";
}

TEST(S3Store, AShortReadAcrossTwoBlocksIsOneRequest) {
  const auto content = varied(150'000);
  ScriptedServer server(ranges_of(content));
  InstantClock clock;
  // What is known of the two blocks beforehand, and how many requests the read across them takes.
  for (const auto& [known, wanted] : std::vector<std::pair<std::vector<std::uint64_t>, std::size_t>>{{{}, 1}, {{0}, 1}, {{70'000}, 1}, {{0, 70'000}, 0}}) {
    auto store = open_at(server, clock);
    Bytes one(10);
    for (const auto offset : known) ASSERT_TRUE(store->read_range("a", offset, one));
    const auto before = server.requests().size();
    Bytes across(1000);
    ASSERT_TRUE(store->read_range("a", 65'000, across));
    EXPECT_EQ(as_text(across), content.substr(65'000, 1000));
    EXPECT_EQ(server.requests().size() - before, wanted);
  }
  // The second one is the object's last, and shorter.
  auto store = open_at(server, clock);
  const auto before = server.requests().size();
  Bytes across(20'000);
  ASSERT_TRUE(store->read_range("a", 130'000, across));
  EXPECT_EQ(as_text(across), content.substr(130'000, 20'000));
  EXPECT_EQ(store->read_range("a", 130'001, across).failure().code(), Errc::Corruption);
  EXPECT_EQ(server.requests().size() - before, 1u);
}

TEST(S3Store, RemovesOneByOneWhereManyAtOnceAreRefused) {
  ScriptedServer server([](const std::string& request) {
    if (request.starts_with("POST ") || request.starts_with("GET /bucket/?versioning")) return reply(403, error_body("AccessDenied"));
    return request.find("/kept ") == std::string::npos ? reply(204) : reply(403, error_body("AccessDenied"));
  });
  InstantClock clock;
  auto store = open_at(server, clock);
  ASSERT_TRUE(store->remove_all(std::vector<std::string>{"a", "b", "c"}));
  ASSERT_TRUE(store->remove_all(std::vector<std::string>{"d", "e"}));
  EXPECT_EQ(server.requests().size(), 7u) << "whether there are versions is asked once, and whether many may go at once is tried once";
  const auto denied = store->remove_all(std::vector<std::string>{"f", "kept"});
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.failure().code(), Errc::Key);
}

TEST(S3Store, RemovesAThousandWithOneRequest) {
  ScriptedServer server([](const std::string& request) {
    if (request.starts_with("GET /bucket/?versioning")) return reply(200, "<VersioningConfiguration/>");
    if (!request.starts_with("POST /bucket/?delete=")) return reply(204);
    return reply(200, request.find("<Key>prefix/kept</Key>") == std::string::npos
                          ? "<DeleteResult/>"
                          : "<DeleteResult><Error><Key>prefix/kept</Key><Code>AccessDenied</Code></Error></DeleteResult>");
  });
  InstantClock clock;
  auto store = open_at(server, clock);
  std::vector<std::string> names;
  for (int i = 0; i < 2001; ++i) names.push_back(fmt::format("p/{}", i));
  ASSERT_TRUE(store->remove_all(names));
  EXPECT_EQ(server.requests().size(), 4u) << "and one that asks whether there are versions";
  EXPECT_NE(server.requests()[1].find("content-md5: "), std::string::npos);
  const auto denied = store->remove_all(std::vector<std::string>{"a", "kept"});
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.failure().code(), Errc::Key);
  EXPECT_NE(denied.failure().describe().find("kept"), std::string::npos);
}

}  // namespace
}  // namespace pgmint::storage
