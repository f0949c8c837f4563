// What tests of AWS credentials share: an environment of their own, a clock that is turned, answers as STS and the metadata services give them.
#pragma once

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <map>

#include "base/file.h"
#include "http/aws_credentials.h"
#include "http/client.h"
#include "http/testing_server.h"

namespace pgmint::http {

inline constexpr TimePoint kTestNow{std::chrono::seconds(1'800'000'000)};  // 2027-01-15T08:00:00Z

/// Files of a test, gone with it.
class TestFiles {
 public:
  TestFiles() {
    std::string pattern = (fs::temp_directory_path() / "pgmint-http-XXXXXX").string();
    PGMINT_ASSERT(::mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
  }
  TestFiles(const TestFiles&) = delete;
  TestFiles& operator=(const TestFiles&) = delete;
  ~TestFiles() { fs::remove_all(directory_); }

  const fs::path& directory() const { return directory_; }
  std::string write(const std::string& name, std::string_view text, mode_t mode = 0600) const {
    const auto path = directory_ / name;
    fs::create_directories(path.parent_path());
    PGMINT_ASSERT(write_file_durably(path, as_bytes(text), mode).has_value());
    PGMINT_ASSERT(::chmod(path.c_str(), mode) == 0);
    return path.string();
  }

 private:
  fs::path directory_;
};

/// Wherever pgmint would look, there is nothing, unless the test says so.
struct TestAws {
  std::map<std::string, std::string> variables;
  ManualClock clock{kTestNow};
  std::unique_ptr<Client> client;

  TestAws() {
    ClientOptions options;
    options.no_proxy = true;
    client = make_client(options);
    variables["AWS_EC2_METADATA_DISABLED"] = "true";
  }
  AwsSurroundings surroundings() {
    return {[this](const std::string& name) -> std::optional<std::string> {
              const auto found = variables.find(name);
              return found == variables.end() ? std::nullopt : std::optional(found->second);
            },
            *client, *client, clock};
  }
};

/// As AWS writes it, shortened.
inline std::string sts_answer(const std::string& action, const std::string& id, const std::string& expiration = "2027-01-15T09:00:00Z") {
  return fmt::format(
      "<{0}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <{0}Result>\n    <AssumedRoleUser>\n      <AssumedRoleId>AROA:pgmint</AssumedRoleId>\n"
      "      <Arn>arn:aws:sts::123456789012:assumed-role/backup/pgmint</Arn>\n    </AssumedRoleUser>\n    <Credentials>\n      <AccessKeyId>{1}</AccessKeyId>\n"
      "      <SecretAccessKey>secret+of/{1}</SecretAccessKey>\n      <SessionToken>token+of/{1}==</SessionToken>\n      <Expiration>{2}</Expiration>\n"
      "    </Credentials>\n  </{0}Result>\n  <ResponseMetadata>\n    <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>\n  </ResponseMetadata>\n</{0}Response>\n",
      action, id, expiration);
}
inline std::string sts_error(const std::string& code, const std::string& message) {
  return fmt::format("<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error>"
                     "<RequestId>1</RequestId></ErrorResponse>", code, message);
}
/// As instances and containers give it.
inline std::string metadata_answer(const std::string& id, const std::string& expiration = "2027-01-15T14:00:00Z") {
  return fmt::format("{{\"Code\" : \"Success\", \"Type\" : \"AWS-HMAC\", \"AccessKeyId\" : \"{0}\", \"SecretAccessKey\" : \"secret+of/{0}\", \"Token\" : \"token+of/{0}==\", "
                     "\"Expiration\" : \"{1}\"}}", id, expiration);
}

}  // namespace pgmint::http
