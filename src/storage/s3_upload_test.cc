// Over a scripted server: what no real store does on demand. Against a real one: tests/integration/test_export_bucket.py.
#include "storage/s3_upload.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "http/testing_server.h"
#include "storage/instant_clock.h"

namespace pgmint::storage {
namespace {

using http::reply;
using http::ScriptedReply;
using http::ScriptedServer;

std::string error_body(std::string_view code) { return fmt::format("<Error><Code>{}</Code></Error>", code); }
std::string line_of(const std::string& request) { return request.substr(0, request.find('\r')); }
std::string body_of(const std::string& request) { return request.substr(request.find("\r\n\r\n") + 4); }

/// As much of S3 as an upload needs. What it answers, a test may spoil, before or after it was carried out.
class SmallStore {
 public:
  ScriptedReply answer(const std::string& request) {
    const auto target = request.substr(request.find(' ') + 1, request.find(" HTTP/") - request.find(' ') - 1);
    const auto path = target.substr(0, target.find('?')), query = target.size() > path.size() ? target.substr(path.size() + 1) : "";
    if (request.starts_with("POST ") && query == "uploads=") {
      ++begun;
      return reply(200, fmt::format("<InitiateMultipartUploadResult><UploadId>id+{}</UploadId></InitiateMultipartUploadResult>", begun));
    }
    if (request.starts_with("POST ")) return join(path, request);
    if (request.starts_with("DELETE ")) return dropped.push_back(query), parts.clear(), reply(204);
    if (request.starts_with("PUT ") && query.starts_with("partNumber=")) {
      const auto number = std::stoi(query.substr(11));
      parts[number] = body_of(request);
      return reply(200, "", fmt::format("ETag: \"part{}\"\r\n", number));
    }
    if (request.starts_with("PUT ")) return create(path, body_of(request), request);
    const auto found = objects.find(path);
    if (found == objects.end()) return reply(404, error_body("NoSuchKey"));
    const auto at = request.find("range: bytes=") + 13;
    const std::size_t first = std::stoull(request.substr(at)), last = std::min<std::size_t>(std::stoull(request.substr(request.find('-', at) + 1)), found->second.size() - 1);
    return reply(206, found->second.substr(first, last - first + 1), fmt::format("Content-Range: bytes {}-{}/{}\r\n", first, last, found->second.size()));
  }
  std::map<std::string, std::string> objects;
  std::map<int, std::string> parts;
  std::vector<std::string> dropped;  ///< queries of DELETEs
  int begun = 0;

 private:
  ScriptedReply create(const std::string& path, std::string content, const std::string& request) {
    const bool conditional = request.find("\r\nif-none-match: *\r\n") != std::string::npos;
    if (conditional && objects.contains(path)) return reply(412, error_body("PreconditionFailed"));
    objects[path] = std::move(content);
    return reply(200);
  }
  ScriptedReply join(const std::string& path, const std::string& request) {
    if (parts.empty()) return reply(404, error_body("NoSuchUpload"));
    std::string whole;
    for (const auto& [number, content] : parts) {
      if (request.find(fmt::format("<Part><PartNumber>{}</PartNumber><ETag>\"part{}\"</ETag></Part>", number, number)) == std::string::npos) return reply(400, error_body("InvalidPart"));
      whole += content;
    }
    auto answer = create(path, std::move(whole), request);
    if (!answer.bytes.starts_with("HTTP/1.1 200")) return answer;
    parts.clear();
    return reply(200, "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>");
  }
};

struct Subject {
  InstantClock clock;
  SeededRandom random{5};
  std::unique_ptr<S3Upload> upload;

  explicit Subject(const ScriptedServer& server, S3UploadOptions options = {}, const CancelToken* cancel = nullptr) {
    options.bucket.url = "s3://bucket/pre fix";
    options.bucket.endpoint = server.url();
    options.bucket.path_style = true;
    http::ClientOptions client;
    client.stall_time_max = std::chrono::seconds(1);
    auto opened = S3Upload::open(options, http::make_client(client, cancel), http::fixed_credentials({"KEY", "secret", "", {}, "test"}), clock, random, cancel);
    EXPECT_TRUE(opened) << opened.failure().describe();
    upload = std::move(*opened);
  }
};

S3UploadOptions in_parts() {
  S3UploadOptions options;
  options.parts_above = kS3PartMin;
  return options;
}

/// Twelve MiB: three parts.
std::string long_content() {
  std::string content(12 << 20, '.');
  for (std::size_t i = 0; i < content.size(); i += 101) content[i] = static_cast<char>('a' + i % 23);
  return content;
}

constexpr const char* kPath = "/bucket/pre%20fix/sh%26op/file.enc";

TEST(S3Upload, ACreationIsConditionalAndSaysHowItIsKept) {
  SmallStore store;
  ScriptedServer server([&](const std::string& request) { return store.answer(request); });
  S3UploadOptions options;
  options.bucket.storage_class = "STANDARD_IA";
  options.bucket.encryption = "aws:kms";
  options.bucket.kms_key_id = "alias/backups";
  Subject subject(server, options);
  EXPECT_EQ(subject.upload->url_of("sh&op/file.enc"), "s3://bucket/pre fix/sh&op/file.enc");
  ASSERT_EQ(*subject.upload->create("sh&op/file.enc", as_bytes("content")), Created::Yes);
  const auto request = server.requests().back();
  EXPECT_EQ(line_of(request), fmt::format("PUT {} HTTP/1.1", kPath));
  for (const char* header : {"\r\nif-none-match: *\r\n", "\r\nx-amz-storage-class: STANDARD_IA\r\n", "\r\nx-amz-server-side-encryption: aws:kms\r\n",
                             "\r\nx-amz-server-side-encryption-aws-kms-key-id: alias/backups\r\n",
                             "\r\nx-amz-content-sha256: ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73\r\n"})
    EXPECT_NE(request.find(header), std::string::npos) << header << request;
  EXPECT_EQ(*subject.upload->create("sh&op/file.enc", as_bytes("others")), Created::AlreadyExists);
  EXPECT_EQ(store.objects.at(kPath), "content");
  EXPECT_TRUE(subject.upload->guarded());
}

TEST(S3Upload, PartsAreSentInOrderAndTheHeadersStandOnTheirBeginning) {
  SmallStore store;
  ScriptedServer server([&](const std::string& request) { return store.answer(request); });
  auto options = in_parts();
  options.bucket.storage_class = "STANDARD_IA";
  options.bucket.encryption = "AES256";
  Subject subject(server, options);
  const auto content = long_content();
  std::vector<std::uint64_t> sent;
  ASSERT_EQ(*subject.upload->create("sh&op/file.enc", as_bytes(content), [&](std::uint64_t bytes) { sent.push_back(bytes); }), Created::Yes);
  EXPECT_EQ(store.objects.at(kPath), content);
  EXPECT_EQ(sent, (std::vector<std::uint64_t>{5 << 20, 10 << 20, 12 << 20}));
  EXPECT_TRUE(store.dropped.empty());
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 6u);
  EXPECT_EQ(line_of(requests[4]), fmt::format("GET {} HTTP/1.1", kPath)) << "looked at once more before the parts are put together";
  EXPECT_NE(requests[0].find("\r\nx-amz-server-side-encryption: AES256\r\n"), std::string::npos);
  EXPECT_NE(requests[0].find("\r\nx-amz-storage-class: STANDARD_IA\r\n"), std::string::npos);
  EXPECT_EQ(line_of(requests[1]), fmt::format("PUT {}?partNumber=1&uploadId=id%2B1 HTTP/1.1", kPath));
  EXPECT_EQ(requests[1].find("x-amz-server-side-encryption"), std::string::npos);
  EXPECT_NE(requests[5].find("\r\nif-none-match: *\r\n"), std::string::npos);
}

// Every way in which an answer may go wrong, before or after the request was carried out: the object is there whole, or not at all and its parts are gone.
TEST(S3Upload, WhateverHappensToTheAnswersNothingHalfIsLeft) {
  const ScriptedReply spoiled[] = {{"", false}, {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxx", false}, reply(500, error_body("InternalError")), reply(503, "<html>gateway</html>"),
                                   reply(200, error_body("InternalError"))};
  const auto long_one = long_content();
  for (const bool parts : {false, true}) {
    const auto content = parts ? long_one : std::string("content");
    for (const auto& wrong : spoiled)
      for (const bool carried_out : {false, true})
        for (int which = 0; which < (parts ? 5 : 1); ++which) {
          if (!parts && wrong.bytes.starts_with("HTTP/1.1 200 S")) continue;  // a PUT that is answered 200 was carried out
          SmallStore store;
          int number = 0;
          ScriptedServer server([&](const std::string& request) {
            if (request.starts_with("GET ") || number++ != which) return store.answer(request);
            if (carried_out) store.answer(request);
            return wrong;
          });
          Subject subject(server, parts ? in_parts() : S3UploadOptions{});
          const auto created = subject.upload->create("sh&op/file.enc", as_bytes(content));
          ASSERT_TRUE(created) << created.failure().describe() << which << carried_out << wrong.bytes;
          EXPECT_EQ(store.objects.at(kPath), content) << which << carried_out << wrong.bytes;
          EXPECT_TRUE(store.parts.empty());
        }
  }
}

TEST(S3Upload, PartsOfAFailureAreRemoved) {
  const auto content = long_content();
  for (const char* failing : {"partNumber=2", "<CompleteMultipartUpload"}) {
    SmallStore store;
    ScriptedServer server([&](const std::string& request) { return request.find(failing) != std::string::npos ? reply(403, error_body("AccessDenied")) : store.answer(request); });
    Subject subject(server, in_parts());
    const auto created = subject.upload->create("sh&op/file.enc", as_bytes(content));
    ASSERT_FALSE(created);
    EXPECT_EQ(created.failure().code(), Errc::Key);
    EXPECT_TRUE(store.objects.empty());
    EXPECT_EQ(store.dropped, std::vector<std::string>{"uploadId=id%2B1"});
  }
}

TEST(S3Upload, ACancellationAtAnyRequestLeavesNoParts) {
  const auto content = long_content();
  for (const char* when : {"uploads=", "partNumber=1", "partNumber=2", "partNumber=3", "range: ", "<CompleteMultipartUpload"}) {
    SmallStore store;
    CancelToken cancel;
    ScriptedServer server([&](const std::string& request) {
      auto answer = store.answer(request);
      if (request.find(when) == std::string::npos || cancel.cancelled()) return answer;
      cancel.cancel();
      // Long enough behind for whoever waits for it to look up.
      const auto body = answer.bytes.find("\r\n\r\n") + 4;
      answer.behind = answer.bytes.substr(body);
      answer.bytes.resize(body);
      return answer;
    });
    Subject subject(server, in_parts(), &cancel);
    const auto created = subject.upload->create("sh&op/file.enc", as_bytes(content));
    EXPECT_TRUE(created || created.failure().code() == Errc::Cancelled) << when << ": " << created.failure().describe();
    EXPECT_EQ(store.begun, 1) << when;
    EXPECT_TRUE(store.parts.empty()) << when;
    EXPECT_TRUE(store.objects.contains(kPath) || store.dropped.size() == 1) << when;
  }
}

TEST(S3Upload, AnotherWritersObjectStaysAndOurPartsGo) {
  for (const char* when : {"uploads=", "partNumber=3", "<CompleteMultipartUpload"}) {
    SmallStore store;
    ScriptedServer server([&](const std::string& request) {
      if (request.find(when) != std::string::npos) store.objects[kPath] = "theirs";
      return store.answer(request);
    });
    Subject subject(server, in_parts());
    EXPECT_EQ(*subject.upload->create("sh&op/file.enc", as_bytes(long_content())), Created::AlreadyExists);
    EXPECT_EQ(store.objects.at(kPath), "theirs");
    EXPECT_EQ(store.dropped.size(), 1u);
  }
}

TEST(S3Upload, AStoreWithoutConditionsIsLookedAtFirstAndSaidToBeUnguarded) {
  for (const bool parts : {false, true}) {
    SmallStore store;
    ScriptedServer server([&](const std::string& request) {
      return request.find("if-none-match") != std::string::npos ? reply(501, error_body("NotImplemented")) : store.answer(request);
    });
    Subject subject(server, parts ? in_parts() : S3UploadOptions{});
    const auto content = parts ? long_content() : std::string("content");
    ASSERT_EQ(*subject.upload->create("sh&op/file.enc", as_bytes(content)), Created::Yes);
    EXPECT_FALSE(subject.upload->guarded());
    EXPECT_EQ(*subject.upload->create("sh&op/file.enc", as_bytes(content + "!")), Created::AlreadyExists);
    EXPECT_EQ(store.objects.at(kPath), content);
  }
}

// MinIO without a KMS answers 501 whatever the condition.
TEST(S3Upload, WhatAStoreLacksBesidesIsNamed) {
  SmallStore store;
  ScriptedServer server([&](const std::string& request) {
    return request.find("x-amz-server-side-encryption") != std::string::npos ? reply(501, error_body("NotImplemented")) : store.answer(request);
  });
  S3UploadOptions options;
  options.bucket.encryption = "aws:kms";
  Subject subject(server, options);
  const auto created = subject.upload->create("sh&op/file.enc", as_bytes("content"));
  ASSERT_FALSE(created);
  EXPECT_EQ(created.failure().code(), Errc::Configuration);
  EXPECT_NE(created.failure().hint().find("aws:kms"), std::string::npos);
  EXPECT_TRUE(subject.upload->guarded());
}

TEST(S3Upload, ReadsAllOfAnObjectOrSaysThatItIsAnother) {
  SmallStore store;
  store.objects[kPath] = long_content();
  ScriptedServer server([&](const std::string& request) { return store.answer(request); });
  Subject subject(server);
  std::string got;
  const auto take = [&](ByteView bytes) {
    got += as_text(bytes);
    return ok();
  };
  ASSERT_TRUE(subject.upload->read("sh&op/file.enc", store.objects[kPath].size(), take));
  EXPECT_EQ(got, store.objects[kPath]);
  for (const std::size_t size : {store.objects[kPath].size() - 1, store.objects[kPath].size() + 1}) {
    const auto read = subject.upload->read("sh&op/file.enc", size, take);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.failure().code(), Errc::Corruption) << read.failure().describe();
  }
  const auto gone = subject.upload->read("sh&op/other", 10, take);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.failure().code(), Errc::Corruption);
  EXPECT_FALSE(*subject.upload->front("sh&op/other", 16));
}

TEST(S3Upload, ADeadStoreIsGivenUp) {
  ScriptedServer server([](const std::string&) { return ScriptedReply{"", false}; });
  Subject subject(server);
  const auto created = subject.upload->create("sh&op/file.enc", as_bytes("content"));
  ASSERT_FALSE(created);
  EXPECT_EQ(created.failure().code(), Errc::Unknown);
  EXPECT_LT(server.requests().size(), 30u);
}

}  // namespace
}  // namespace pgmint::storage
