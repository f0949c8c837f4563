// The files ~/.aws/credentials and ~/.aws/config. Source: "Shared config and credentials files" in AWS's SDK reference.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "http/aws_credentials.h"

namespace pgmint::http {

/// The settings of one profile, of both files: what the credentials file says goes first.
using AwsProfile = std::map<std::string, std::string>;

struct AwsProfiles {
  std::map<std::string, AwsProfile> by_name;
  fs::path credentials_file, config_file;  ///< where they would be; empty where nobody has a home
  std::vector<std::string> warnings;       ///< a file with secrets that others may read

  const AwsProfile* find(const std::string& name) const;
};

/// Sections by name, each with its keys in lower case; indented lines belong to the key above them and are left out.
/// @errors Configuration, with the line
Result<std::map<std::string, AwsProfile>> parse_profile_file(std::string_view text, const std::string& file);

/// AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE, HOME. Files that are not there are empty. @errors Configuration, Key, Io
Result<AwsProfiles> read_profiles(const AwsEnvironment& environment);

/// `chosen`, else AWS_PROFILE, else "default".
std::string profile_name(const std::optional<std::string>& chosen, const AwsEnvironment& environment);

}  // namespace pgmint::http
