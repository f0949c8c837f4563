#include "http/client.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "http/testing_server.h"

namespace pgmint::http {
namespace {

Request get(const ScriptedServer& server, const std::string& path = "/") {
  Request request;
  request.url = server.url() + path;
  return request;
}

Request put(const ScriptedServer& server, ByteView body) {
  auto request = get(server, "/object");
  request.method = "PUT";
  request.body = body;
  return request;
}

TEST(HttpClient, GivesStatusHeadersAndBody) {
  ScriptedServer server([](const std::string&) { return reply(404, "not here", "X-Some-Thing:  of value \r\n"); });
  auto client = make_client({});
  auto answer = client->perform(get(server, "/a%20b?c=d"));
  ASSERT_TRUE(answer) << answer.failure().describe();
  EXPECT_EQ(answer->status, 404);
  EXPECT_FALSE(answer->success());
  EXPECT_EQ(as_text(answer->body), "not here");
  EXPECT_EQ(answer->header("x-some-thing"), "of value");
  EXPECT_FALSE(answer->header("x-other"));
  EXPECT_TRUE(server.requests().front().starts_with("GET /a%20b?c=d HTTP/1.1\r\n")) << server.requests().front();
}

TEST(HttpClient, SendsABodyAndKeepsItsConnection) {
  ScriptedServer server([](const std::string& request) { return reply(200, request.substr(request.find("\r\n\r\n") + 4)); });
  auto client = make_client({});
  const Bytes body(300'000, std::byte{'x'});
  for (int i = 0; i < 3; ++i) {
    auto answer = client->perform(put(server, body));
    ASSERT_TRUE(answer) << answer.failure().describe();
    EXPECT_EQ(answer->body, body);
  }
  EXPECT_EQ(server.connections(), 1u);
  EXPECT_EQ(server.requests().front().find("Expect"), std::string::npos);
}

TEST(HttpClient, PutsABodyWhereItBelongs) {
  ScriptedServer server([](const std::string& request) {
    return request.starts_with("GET /missing") ? reply(404, "a longer text than there is room") : reply(206, "0123456789");
  });
  auto client = make_client({});
  Bytes room(10);
  auto request = get(server);
  request.into = room;
  auto answer = client->perform(request);
  ASSERT_TRUE(answer) << answer.failure().describe();
  EXPECT_EQ(as_text(room), "0123456789");
  EXPECT_EQ(answer->size, 10u);
  EXPECT_TRUE(answer->body.empty());

  request.url = server.url() + "/missing";
  answer = client->perform(request);
  ASSERT_TRUE(answer) << answer.failure().describe();
  EXPECT_EQ(as_text(answer->body), "a longer text than there is room") << "what explains a failure is no content";
  EXPECT_EQ(as_text(room), "0123456789");

  Bytes small(9);
  request.url = server.url();
  request.into = small;
  answer = client->perform(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.failure().code(), Errc::ResourceLimit);
}

TEST(HttpClient, RefusesMoreThanWasAskedForWithOrWithoutALength) {
  for (const bool chunked : {false, true}) {
    ScriptedServer server([&](const std::string&) {
      const std::string body(5000, 'x');
      return chunked ? ScriptedReply{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + body + "\r\n0\r\n\r\n"} : reply(200, body);
    });
    auto request = get(server);
    request.answer_max = 4999;
    auto refused = make_client({})->perform(request);
    ASSERT_FALSE(refused) << chunked;
    EXPECT_EQ(refused.failure().code(), Errc::ResourceLimit) << chunked;
    request.answer_max = 5000;
    auto taken = make_client({})->perform(request);
    ASSERT_TRUE(taken) << taken.failure().describe();
    EXPECT_EQ(taken->body.size(), 5000u);
  }
}

TEST(HttpClient, ATruncatedAnswerIsNotAnAnswer) {
  ScriptedServer server([](const std::string&) { return ScriptedReply{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", false}; });
  auto answer = make_client({})->perform(get(server));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.failure().code(), Errc::Unknown);
}

TEST(HttpClient, NobodyListeningIsCertainlyNotDone) {
  std::string url;
  {
    ScriptedServer server([](const std::string&) { return reply(200); });
    url = server.url();
  }
  Request request;
  request.url = url + "/secret?token=hidden";
  auto answer = make_client({})->perform(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.failure().code(), Errc::Storage);
  EXPECT_EQ(answer.failure().describe().find("hidden"), std::string::npos) << answer.failure().describe();
}

// libcurl repeats a request by itself when a kept connection turns out to be dead. Of a body nothing may go out twice, since the first may count.
TEST(HttpClient, ABodyIsNeverSentTwice) {
  int calls = 0;
  ScriptedServer server([&](const std::string&) {
    ++calls;
    return calls == 1 ? reply(200) : ScriptedReply{"", false};  // read whole, then the connection ends without an answer
  });
  auto client = make_client({});
  const Bytes body(100, std::byte{'x'});
  ASSERT_TRUE(client->perform(put(server, body)));
  auto unanswered = client->perform(put(server, body));
  ASSERT_FALSE(unanswered);
  EXPECT_EQ(unanswered.failure().code(), Errc::Unknown) << unanswered.failure().describe();
  EXPECT_EQ(server.requests().size(), 2u);
}

// The body waits in the server's kernel until the head was acknowledged, which ours would do after 40 ms.
TEST(HttpClient, AnAnswerInTwoPiecesIsNotWaitedFor) {
  constexpr int kRequests = 50;
  ScriptedServer server([](const std::string&) { return ScriptedReply{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", true, "body"}; });
  auto client = make_client({});
  std::vector<std::chrono::steady_clock::duration> took;
  for (int i = 0; i < kRequests; ++i) {
    const auto began = std::chrono::steady_clock::now();
    auto answer = client->perform(get(server));
    took.push_back(std::chrono::steady_clock::now() - began);
    ASSERT_TRUE(answer) << answer.failure().describe();
    ASSERT_EQ(as_text(answer->body), "body");
  }
  std::ranges::sort(took);
  EXPECT_LT(took[kRequests / 2], std::chrono::milliseconds(20)) << "the median: one may wait for a core";
}

TEST(HttpClient, AStallEndsARequest) {
  std::atomic<bool> go_on{false};
  ScriptedServer server([&](const std::string&) {
    while (!go_on) std::this_thread::yield();
    return reply(200);
  });
  ClientOptions options;
  options.stall_time_max = std::chrono::seconds(1);
  auto answer = make_client(options)->perform(get(server));
  go_on = true;
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.failure().code(), Errc::Unknown) << answer.failure().describe();
}

TEST(HttpClient, ACancellationEndsWhatWasBegunBeforeIt) {
  CancelToken cancel;
  ScriptedServer server([&](const std::string& request) {
    cancel.cancel();
    return request.starts_with("DELETE ") ? reply(204) : ScriptedReply{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"};
  });
  auto client = make_client({}, &cancel);
  auto answer = client->perform(get(server));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.failure().code(), Errc::Cancelled);
  auto tidy_up = get(server);
  tidy_up.method = "DELETE";
  answer = client->perform(tidy_up);
  ASSERT_TRUE(answer) << answer.failure().describe();
  EXPECT_EQ(answer->status, 204);
}

TEST(HttpClient, EncodesWhatIsNotUnreserved) {
  EXPECT_EQ(percent_encoded("a-b._~/c d+%\xc3\xa9"), "a-b._~%2Fc%20d%2B%25%C3%A9");
  EXPECT_EQ(percent_encoded("a/b c", true), "a/b%20c");
  EXPECT_EQ(authority_of("https://localhost:17443/a?b"), "localhost:17443");
  EXPECT_EQ(authority_of("https://host?b"), "host");
  EXPECT_EQ(authority_of("/a"), "");
}

}  // namespace
}  // namespace pgmint::http
