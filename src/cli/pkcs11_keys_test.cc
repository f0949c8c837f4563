#include "cli/pkcs11_keys.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "cli/key_services.h"

namespace pgmint::cli {
namespace {

TEST(Pkcs11Uri, NamesATokenAndAKey) {
  auto uri = parse_pkcs11_uri("pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;serial=a1;slot-id=4;object=my-kek;id=%01%fFz;type=secret-key"
                              "?pin-source=file:///etc/token.pin&module-path=/usr/lib/softhsm/libsofthsm2.so");
  ASSERT_TRUE(uri) << uri.failure().describe();
  EXPECT_EQ(uri->key.token, "The Software PKCS#11 Softtoken");
  EXPECT_EQ(uri->key.manufacturer, "Snake Oil, Inc.");
  EXPECT_EQ(uri->key.model, "1.0");
  EXPECT_EQ(uri->key.serial, "a1");
  EXPECT_EQ(uri->key.slot, 4u);
  EXPECT_EQ(uri->key.object, "my-kek");
  EXPECT_EQ(to_hex(*uri->key.id), "01ff7a");
  EXPECT_EQ(uri->pin_file, "/etc/token.pin");
  EXPECT_EQ(uri->module, "/usr/lib/softhsm/libsofthsm2.so");
  EXPECT_EQ(pkcs11_uri(uri->key), "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;serial=a1;object=my-kek;id=%01%FF%7A");
  for (const auto* source : {"file:/etc/token.pin", "/etc/token.pin"}) EXPECT_EQ(parse_pkcs11_uri(fmt::format("pkcs11:token=t;object=k?pin-source={}", source))->pin_file, "/etc/token.pin");
}

TEST(Pkcs11Uri, IsWrittenAsItIsRead) {
  crypto::TokenKeyName key;
  key.token = "a;b=c?d&e%f \x01\xc3\xa4";
  key.serial = "";
  key.object = "k";
  key.id = Bytes{std::byte{0}, std::byte{';'}};
  const auto text = pkcs11_uri(key);
  EXPECT_TRUE(std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; })) << text;
  key.token = "a;b=c?d&e%f \xc3\xa4";
  const auto again = parse_pkcs11_uri(pkcs11_uri(key));
  ASSERT_TRUE(again) << again.failure().describe();
  EXPECT_EQ(again->key.token, key.token);
  EXPECT_EQ(again->key.id, key.id);
  EXPECT_FALSE(again->key.serial);
}

TEST(Pkcs11Uri, RefusesWhatItDoesNotUnderstand) {
  for (const auto& [wrong, says] : std::map<std::string, std::string>{{"", "pkcs11:"},
                                                                      {"token=t;object=k", "pkcs11:"},
                                                                      {"pkcs11:", "names no token"},
                                                                      {"pkcs11:object=k", "names no token"},
                                                                      {"pkcs11:token=t", "names no key"},
                                                                      {"pkcs11:token=t;object=k;object=l", "twice"},
                                                                      {"pkcs11:token=t;object=k;tokn=x", "tokn"},
                                                                      {"pkcs11:token=t;object=k;=x", "NAME=VALUE"},
                                                                      {"pkcs11:token=t;object", "NAME=VALUE"},
                                                                      {"pkcs11:token=t;object=k;type=private", "secret-key"},
                                                                      {"pkcs11:token=t;object=k;slot-id=x", "number"},
                                                                      {"pkcs11:token=t;object=%4", "hexadecimal"},
                                                                      {"pkcs11:token=t;object=%zz", "hexadecimal"},
                                                                      {"pkcs11:token=t;object=a b", "%XX"},
                                                                      {"pkcs11:token=t;object=a%0ab", "control"},
                                                                      {"pkcs11:token=t;object=k?pin-source=|cat /etc/pin", "%XX"},
                                                                      {"pkcs11:token=t;object=k?pin-source=%7Ccat", "absolute path"},
                                                                      {"pkcs11:token=t;object=k?pin-source=token.pin", "absolute path"},
                                                                      {"pkcs11:token=t;object=k?module-path=softhsm.so", "absolute path"},
                                                                      {"pkcs11:token=t;object=k?pin-value=1234", "must not stand in it"},
                                                                      {"pkcs11:token=t;object=k;id=" + std::string(2049, 'a'), "too long"}}) {
    const auto refused = parse_pkcs11_uri(wrong);
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.failure().code(), Errc::Usage);
    EXPECT_NE(refused.failure().describe().find(says), std::string::npos) << refused.failure().describe();
    EXPECT_EQ(refused.failure().describe().find("1234"), std::string::npos) << "what may be a PIN is not told";
  }
}

TEST(Pkcs11Configuration, NamesOneKeyOrSeveralAndItsModule) {
  auto parsed = parse_configuration(
      "[[repository]]\nname = \"a\"\nurl = \"/a\"\n[repository.encryption]\npkcs11 = [\"pkcs11:token=t;object=a\", \"pkcs11:token=t;object=b\"]\n"
      "[encryption]\npkcs11 = \"pkcs11:token=t;object=k\"\n[pkcs11]\nmodule = \"/m.so\"\npin_file = \"/pin\"\n",
      "test.toml");
  ASSERT_TRUE(parsed) << parsed.failure().describe();
  EXPECT_EQ(parsed->encryption.pkcs11, std::vector<std::string>{"pkcs11:token=t;object=k"});
  EXPECT_TRUE(parsed->encryption.needs_service());
  EXPECT_FALSE(parsed->encryption.empty());
  const auto& own = parsed->repositories.front().encryption;
  EXPECT_EQ(own.pkcs11.size(), 2u);
  EXPECT_EQ(own.services.pkcs11.module, "/m.so");
  EXPECT_EQ(parsed->encryption.services.pkcs11.pin_file, "/pin");
  for (const auto& [text, says] : std::map<std::string, std::string>{{"[encryption]\npkcs11 = \"token=t\"\n", "pkcs11:token=TOKEN;object=KEY"},
                                                                     {"[encryption]\npkcs11 = []\n", "1 to 16"},
                                                                     {"[pkcs11]\nmodule = \"m.so\"\n", "absolute"},
                                                                     {"[pkcs11]\npin = \"1234\"\n", "\"pin_file\""}}) {
    auto wrong = parse_configuration(text, "test.toml");
    ASSERT_FALSE(wrong) << text;
    EXPECT_NE(wrong.failure().describe().find(says), std::string::npos) << wrong.failure().describe();
  }
}

TEST(Pkcs11KeyService, DoesNotAskForWhatAnotherKeyWrapped) {
  // There is no such module: asking would be an error.
  KeyServiceSettings nowhere;
  nowhere.pkcs11.module = "/nowhere/module.so";
  const auto unwrapped = [&](const std::string& uri, const std::string& name) { return (*make_pkcs11_service(uri, nowhere))->unwrap(name, as_bytes("wrapped"), {}); };
  for (const auto& [uri, name] : std::map<std::string, std::string>{{"pkcs11:token=t;object=a", "pkcs11:token=t;serial=1;object=b;id=%01"},
                                                                    {"pkcs11:token=t;id=%01", "pkcs11:token=t;serial=1;object=b;id=%02"},
                                                                    {"pkcs11:token=t;object=b", "vault:///transit/b"},
                                                                    {"pkcs11:token=t;object=c", ""}}) {
    const auto opened = unwrapped(uri, name);
    ASSERT_TRUE(opened) << name << ": " << opened.failure().describe();
    EXPECT_FALSE(*opened) << name;
  }
  EXPECT_EQ(unwrapped("pkcs11:token=t;object=a", "pkcs11:token=t;serial=1;object=a;id=%01").failure().code(), Errc::Configuration);
  EXPECT_EQ(unwrapped("pkcs11:token=copy;object=a", "pkcs11:token=t;serial=1;object=a;id=%01").failure().code(), Errc::Configuration) << "a copy of the token opens too";
}

}  // namespace
}  // namespace pgmint::cli
