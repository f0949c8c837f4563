#include "repository/keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repository/format_file.h"
#include "repository/testing_key_service.h"
#include "repository/testing_keys.h"

namespace pgmint::repository {
namespace {

// Shares by docs/format/keys.md, read and written apart from key_text.cc.
constexpr std::string_view kShare = "PGMINT-SHARE-1:";
Bytes payload_of_share(const std::string& text) {
  Bytes bytes;
  unsigned buffer = 0, bits = 0;
  for (const char c : text.substr(kShare.size())) {
    if (c == '-') continue;
    buffer = buffer << 5 | static_cast<unsigned>(std::string_view("0123456789ABCDEFGHJKMNPQRSTVWXYZ").find(c));
    if (bits += 5; bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<std::byte>(buffer >> bits & 0xFF));
  }
  bytes.resize(37);  // without the checksum
  return bytes;
}
std::string share_of_payload(Bytes payload) {
  auto summed = to_bytes(as_bytes(kShare));
  append(summed, payload);
  append(payload, ByteView(crypto::sha256(summed)).first(3));
  std::string text(kShare);
  unsigned buffer = 0, bits = 0;
  for (const auto b : payload) {
    buffer = buffer << 8 | std::to_integer<unsigned>(b);
    for (bits += 8; bits >= 5; bits -= 5) text += "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[buffer >> (bits - 5) & 31];
  }
  return text;
}

struct KeysTest : ::testing::Test {
  SeededRandom random{99};
  RepositoryId repository = random.id<RepositoryId>();
  RoleBundle root = testing::make_root_bundle(random);
  crypto::ScryptCost cheap{10, 8, 1};

  static bool same(const crypto::Key256& a, const crypto::Key256& b) { return crypto::equal_constant_time(a.bytes(), b.bytes()); }
  Unlock file_unlock() {
    Unlock unlock;
    unlock.key = crypto::Key256::generate(random);
    return unlock;
  }
};

TEST_F(KeysTest, KeyTextsRoundTripAndForgiveHowPeopleType) {
  const auto key = crypto::Key256::generate(random);
  for (auto provider : {KeyProvider::KeyFile, KeyProvider::Recovery}) {
    const auto text = encode_key_text(provider, key);
    auto again = parse_key_text(provider, "# comment\n\n" + text + "\n");
    ASSERT_TRUE(again) << again.failure().describe();
    EXPECT_TRUE(same(*again, key));
    std::string lower = text;
    const auto colon = lower.find(':');
    for (std::size_t i = colon; i < lower.size(); ++i) {
      lower[i] = static_cast<char>(std::tolower(static_cast<unsigned char>(lower[i])));
      if (lower[i] == '0') lower[i] = 'o';
      if (lower[i] == '1') lower[i] = 'l';
    }
    EXPECT_TRUE(parse_key_text(provider, lower));
  }
}

TEST_F(KeysTest, EveryTypingMistakeInAKeyTextIsNoticed) {
  const auto key = crypto::Key256::generate(random);
  const auto text = encode_key_text(KeyProvider::Recovery, key);
  for (std::size_t i = text.find(':') + 1; i < text.size(); ++i) {
    if (text[i] == '-') continue;
    auto wrong = text;
    wrong[i] = wrong[i] == 'Z' ? 'Y' : 'Z';
    EXPECT_FALSE(parse_key_text(KeyProvider::Recovery, wrong)) << i;
  }
  for (auto bad : {"", "hunter2", "PGMINT-RECOVERY-1:", "PGMINT-KEY-1:AAAA"})
    EXPECT_EQ(parse_key_text(KeyProvider::KeyFile, bad).failure().code(), Errc::Key) << bad;
  EXPECT_FALSE(parse_key_text(KeyProvider::KeyFile, text));  // the other kind of text
}

TEST_F(KeysTest, SharesOfARecoveryKey) {
  const auto key = crypto::Key256::generate(random);
  const auto shares = encode_recovery_shares(key, 3, 5, random), others = encode_recovery_shares(key, 3, 5, random);
  ASSERT_EQ(shares.size(), 5U);
  const auto joined = [&](std::initializer_list<std::string> lines) {
    std::string text = "# of the safe\n";
    for (const auto& line : lines) text += "  " + line + "\r\n\n";
    return parse_key_text(KeyProvider::Recovery, text);
  };
  const auto refused = [&](std::initializer_list<std::string> lines) {
    const auto result = joined(lines);
    EXPECT_FALSE(result);
    return result ? std::string() : result.failure().code() == Errc::Key ? result.failure().describe() : "another kind of error";
  };
  using ::testing::HasSubstr;
  for (std::size_t a = 0; a < 5; ++a)
    for (std::size_t b = 0; b < 5; ++b)
      for (std::size_t c = 0; c < 5; ++c) {
        const auto again = joined({shares[a], shares[b], shares[c]});
        const bool differ = a != b && b != c && a != c;
        ASSERT_EQ(again.has_value(), differ);
        if (again) {
          EXPECT_TRUE(same(*again, key));
        }
      }
  EXPECT_TRUE(same(*joined({shares[4], shares[1], shares[0], shares[3], shares[1]}), key)) << "more than are needed, and one of them twice";
  EXPECT_THAT(refused({shares[1], shares[1], shares[3]}), HasSubstr("3 are needed"));
  EXPECT_THAT(refused({shares[0], shares[1], others[2]}), HasSubstr("not made together"));
  EXPECT_THAT(refused({shares[0], encode_key_text(KeyProvider::Recovery, key)}), HasSubstr("does not start with"));
  EXPECT_THAT(refused({encode_key_text(KeyProvider::Recovery, key), shares[0]}), HasSubstr("more than one line"));
  EXPECT_FALSE(parse_key_text(KeyProvider::KeyFile, shares[0] + "\n" + shares[1] + "\n" + shares[2]));
  for (std::size_t i = shares[0].find(':') + 1; i < shares[0].size(); ++i) {
    if (shares[0][i] == '-') continue;
    auto wrong = shares[0];
    wrong[i] = wrong[i] == 'Z' ? 'Y' : 'Z';
    EXPECT_THAT(refused({wrong, shares[1], shares[2]}), HasSubstr("share 1 of those given has a typing mistake")) << i;
  }
  // Somebody has changed his, with a checksum that fits: of three, nobody can tell; of four, it is seen.
  Bytes forged = payload_of_share(shares[2]);
  forged.back() ^= std::byte{1};
  const auto forgery = share_of_payload(forged);
  ASSERT_TRUE(joined({shares[0], shares[1], forgery}));
  EXPECT_FALSE(same(*joined({shares[0], shares[1], forgery}), key));
  EXPECT_THAT(refused({shares[0], shares[1], forgery, shares[3]}), HasSubstr("contradict"));
  EXPECT_THAT(refused({shares[0], shares[2], forgery}), HasSubstr("two different shares"));
}

TEST_F(KeysTest, SlotsOpenWithTheirSecretAndNoOther) {
  auto unlock = file_unlock();
  auto made = make_slot(repository, root, unlock, "note", cheap, TimePoint{}, random);
  ASSERT_TRUE(made);
  auto info = parse_slot(made->object, made->name, repository);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->role, Role::Root);
  EXPECT_EQ(info->note, "note");
  auto opened = open_slot(made->object, *info, unlock);
  ASSERT_TRUE(opened && *opened);
  EXPECT_TRUE(same((*opened)->root_key, root.root_key));
  EXPECT_TRUE(same((*opened)->maintenance_kek, root.maintenance_kek));
  auto wrong = open_slot(made->object, *info, file_unlock());
  ASSERT_TRUE(wrong);
  EXPECT_FALSE(*wrong);
}

TEST_F(KeysTest, PassphraseSlotsCarryTheirCost) {
  Unlock unlock;
  unlock.provider = KeyProvider::Passphrase;
  unlock.passphrase = "correct horse";
  auto made = make_slot(repository, root, unlock, "", cheap, TimePoint{}, random);
  ASSERT_TRUE(made);
  auto info = parse_slot(made->object, made->name, repository);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->scrypt.log2_n, 10u);
  EXPECT_TRUE(*open_slot(made->object, *info, unlock));
  unlock.passphrase += " ";
  EXPECT_FALSE(*open_slot(made->object, *info, unlock));
}

TEST_F(KeysTest, ASlotOfAServiceOpensThroughIt) {
  auto service = std::make_shared<testing::FakeKeyService>(random);
  const auto unlock = testing::service_unlock(service);
  auto made = make_slot(repository, root, unlock, "", cheap, TimePoint{}, random);
  ASSERT_TRUE(made) << made.failure().describe();
  EXPECT_TRUE(made->name.starts_with("kms-"));
  auto info = parse_slot(made->object, made->name, repository);
  ASSERT_TRUE(info) << info.failure().describe();
  EXPECT_EQ(info->provider, KeyProvider::AwsKms);
  EXPECT_EQ(info->service_key, "arn:fake:key/1");
  EXPECT_EQ(info->wrapped_key.size(), 184u);
  auto opened = open_slot(made->object, *info, unlock);
  ASSERT_TRUE(opened && *opened);
  EXPECT_TRUE(same((*opened)->root_key, root.root_key));

  // A service of another kind is not asked, whatever it could unwrap.
  for (const auto provider : {KeyProvider::Vault, KeyProvider::Pkcs11}) {
    auto elsewhere = std::make_shared<testing::FakeKeyService>(random, "arn:fake:key/1", provider);
    EXPECT_FALSE(*open_slot(made->object, *info, testing::service_unlock(elsewhere)));
    EXPECT_EQ(elsewhere->asked, 0);
    auto own = make_slot(repository, root, testing::service_unlock(elsewhere), "", cheap, TimePoint{}, random);
    ASSERT_TRUE(own);
    auto own_info = parse_slot(own->object, own->name, repository);
    ASSERT_TRUE(own_info) << own_info.failure().describe();
    EXPECT_EQ(own_info->provider, provider);
    auto bundle = open_slot(own->object, *own_info, testing::service_unlock(elsewhere));
    ASSERT_TRUE(bundle && *bundle);
    EXPECT_TRUE(same((*bundle)->root_key, root.root_key));
  }

  const auto other = testing::service_unlock(std::make_shared<testing::FakeKeyService>(random, "arn:fake:key/2"));
  auto wrong = open_slot(made->object, *info, other);
  ASSERT_TRUE(wrong) << wrong.failure().describe();
  EXPECT_FALSE(*wrong) << "another key's";
  const int asked = service->asked;
  EXPECT_FALSE(*open_slot(made->object, *info, file_unlock()));
  EXPECT_EQ(service->asked, asked) << "a key file's secret asks no service";

  service->failure = Error(Errc::Storage, "away");
  EXPECT_EQ(open_slot(made->object, *info, unlock).failure().code(), Errc::Storage);
  EXPECT_EQ(make_slot(repository, root, unlock, "", cheap, TimePoint{}, random).failure().code(), Errc::Storage);
}

TEST_F(KeysTest, AServicesKeyThatIsNotTheOneOpensNothing) {
  auto service = std::make_shared<testing::FakeKeyService>(random);
  const auto unlock = testing::service_unlock(service);
  auto made = make_slot(repository, root, unlock, "", cheap, TimePoint{}, random);
  auto info = parse_slot(made->object, made->name, repository);
  service->know(info->wrapped_key, crypto::Key256::generate(random), repository);
  auto opened = open_slot(made->object, *info, unlock);
  ASSERT_TRUE(opened) << opened.failure().describe();
  EXPECT_FALSE(*opened) << "the commitment tells";
}

TEST_F(KeysTest, EveryFlippedByteOfAServicesSlotIsNoticed) {
  auto service = std::make_shared<testing::FakeKeyService>(random);
  const auto unlock = testing::service_unlock(service);
  auto made = make_slot(repository, root, unlock, "n", cheap, TimePoint{}, random);
  for (std::size_t i = 0; i < made->object.size(); ++i) {
    Bytes flipped = made->object;
    flipped[i] ^= std::byte{1};
    EXPECT_FALSE(slot_is_authentic(flipped, root.repository_mac_key)) << i;
    auto info = parse_slot(flipped, made->name, repository);
    if (!info) continue;
    auto opened = open_slot(flipped, *info, unlock);
    EXPECT_FALSE(opened && *opened) << i;
  }
  for (std::size_t n = 0; n < made->object.size(); ++n) EXPECT_FALSE(parse_slot(ByteView(made->object).first(n), made->name, repository)) << n;
}

TEST_F(KeysTest, AProviderOfANewerPgmintIsNamedAndIsNoDamage) {
  auto made = make_slot(repository, root, file_unlock(), "", cheap, TimePoint{}, random);
  const Bytes provider = {std::byte{1}, std::byte{1}, std::byte{1}};  // tag, length, value
  const auto at = std::search(made->object.begin() + 64, made->object.end(), provider.begin(), provider.end());
  ASSERT_NE(at, made->object.end());
  at[2] = std::byte{9};
  auto info = parse_slot(made->object, made->name, repository);
  ASSERT_FALSE(info);
  EXPECT_EQ(info.failure().code(), Errc::Precondition);
  EXPECT_NE(info.failure().message().find("provider 9"), std::string::npos) << info.failure().message();
}

TEST_F(KeysTest, AServicesSlotLacksNothing) {
  auto made = make_slot(repository, root, file_unlock(), "", cheap, TimePoint{}, random);
  const Bytes provider = {std::byte{1}, std::byte{1}, std::byte{1}};  // tag, length, value
  const auto at = std::search(made->object.begin() + 64, made->object.end(), provider.begin(), provider.end());
  ASSERT_NE(at, made->object.end());
  for (const auto service : {KeyProvider::AwsKms, KeyProvider::Vault, KeyProvider::Pkcs11}) {
    at[2] = static_cast<std::byte>(service);
    auto info = parse_slot(made->object, made->name, repository);
    ASSERT_FALSE(info) << provider_name(service);
    EXPECT_EQ(info.failure().code(), Errc::Corruption);
  }
}

TEST_F(KeysTest, EveryFlippedByteOfASlotIsNoticedAndOpensNothing) {
  auto unlock = file_unlock();
  auto made = make_slot(repository, root, unlock, "n", cheap, TimePoint{}, random);
  ASSERT_TRUE(slot_is_authentic(made->object, root.repository_mac_key));
  for (std::size_t i = 0; i < made->object.size(); ++i) {
    Bytes flipped = made->object;
    flipped[i] ^= std::byte{1};
    EXPECT_FALSE(slot_is_authentic(flipped, root.repository_mac_key)) << i;
    auto info = parse_slot(flipped, made->name, repository);
    if (!info) continue;
    auto opened = open_slot(flipped, *info, unlock);
    EXPECT_FALSE(opened && *opened) << i;
  }
}

TEST_F(KeysTest, EachRoleFindsInTheRingWhatItMayKnow) {
  const auto cluster = random.id<ClusterId>();
  auto keys = testing::make_cluster_keys(random, 2);
  const auto ring = make_keyring(repository, cluster, Epoch(2), keys, {{&root.root_key}, root.maintenance_kek, root.repository_mac_key}, random);
  auto as_root = open_keyring(ring, repository, cluster, Epoch(2), root);
  ASSERT_TRUE(as_root);
  EXPECT_TRUE(same(as_root->cluster_kek, keys.cluster_kek));
  EXPECT_EQ(as_root->newest_epoch(), Epoch(2));

  RoleBundle host = root.clone();
  host.role = Role::Host;
  host.host_cluster = cluster;
  host.cluster_kek = keys.cluster_kek.clone();
  auto as_host = open_keyring(ring, repository, cluster, Epoch(2), host);
  ASSERT_TRUE(as_host);
  EXPECT_TRUE(same(as_host->map_key, keys.map_key));

  RoleBundle maintenance = root.clone();
  maintenance.role = Role::Maintenance;
  auto as_maintenance = open_keyring(ring, repository, cluster, Epoch(2), maintenance);
  ASSERT_TRUE(as_maintenance);
  EXPECT_TRUE(same(as_maintenance->maintenance_key, keys.maintenance_key));
  EXPECT_TRUE(as_maintenance->map_key.is_zero());
  EXPECT_FALSE(as_maintenance->can_read_data());
  EXPECT_EQ(as_maintenance->data_key(Epoch(1)).failure().code(), Errc::Key);

  for (std::size_t i = 0; i < ring.size(); ++i) {
    Bytes flipped = ring;
    flipped[i] ^= std::byte{1};
    EXPECT_FALSE(open_keyring(flipped, repository, cluster, Epoch(2), maintenance)) << i;
  }
  auto stranger = testing::make_root_bundle(random);
  stranger.repository_mac_key = root.repository_mac_key.clone();
  EXPECT_EQ(open_keyring(ring, repository, cluster, Epoch(2), stranger).failure().code(), Errc::Key);
  EXPECT_FALSE(open_keyring(ring, repository, random.id<ClusterId>(), Epoch(2), root));
  EXPECT_FALSE(open_keyring(ring, repository, cluster, Epoch(1), root));
}

TEST_F(KeysTest, FormatFileIsAuthenticatedInEveryByte) {
  FormatFile format;
  format.repository = repository;
  format.created_by = "test";
  const auto object = encode_format(format, root.repository_mac_key);
  EXPECT_EQ(*peek_repository_id(object), repository);
  ASSERT_TRUE(parse_format(object, root.repository_mac_key));
  for (std::size_t i = 0; i < object.size(); ++i) {
    Bytes flipped = object;
    flipped[i] ^= std::byte{1};
    EXPECT_FALSE(parse_format(flipped, root.repository_mac_key)) << i;
  }
  for (std::size_t n = 0; n < object.size(); ++n) EXPECT_FALSE(parse_format(ByteView(object).first(n), root.repository_mac_key));
}

TEST(FormatFileGolden, OfARepositoryWhoseLogIsApart) {
  const std::string golden = 
      "50474d494e540d0a010001010000000011111111111111111111111111111111000000000000000000000000000000000000000000000000000000000000000005010800b0adcc40610600020c70676d"
      "696e7420302e312e300320010000000000000000000000000000000000000000000000000000000000000005202222222222222222222222222222222222222222222222222222222222222222061573"
      "333a2f2f6261636b7570732d6c6f672f70726f6464e95f031417d577922ce17ab249a3894c4425d8d7847c17022568981efbe8bd";
  const auto key = *crypto::Key256::from_bytes(Bytes(32, std::byte{7}));
  FormatFile format;
  format.repository.bytes.fill(std::byte{0x11});
  format.created = *parse_time("2026-11-27T12:00:00Z");
  format.created_by = "pgmint 0.1.0";
  format.root.fill(std::byte{0x22});
  format.read_flags = kLogApart;
  format.log_url = "s3://backups-log/prod";
  EXPECT_EQ(to_hex(encode_format(format, key)), golden);
  const auto bytes = from_hex(golden);
  ASSERT_TRUE(bytes);
  const auto read = parse_format(*bytes, key);
  ASSERT_TRUE(read) << read.failure().describe();
  EXPECT_EQ(read->read_flags, kLogApart);
  EXPECT_EQ(read->log_url, format.log_url);
  EXPECT_TRUE(check_features(*read, Operation::Read));
}

TEST_F(KeysTest, AnUnknownFeatureForbidsJustItsOperation) {
  FormatFile format;
  format.delete_flags = 4;
  EXPECT_TRUE(check_features(format, Operation::Read));
  EXPECT_TRUE(check_features(format, Operation::Write));
  EXPECT_EQ(check_features(format, Operation::Delete).failure().code(), Errc::Precondition);
  format.read_flags = kLogApart;
  EXPECT_TRUE(check_features(format, Operation::Write)) << "the one that is known";
  format.read_flags |= 2;
  EXPECT_FALSE(check_features(format, Operation::Write));
  format.read_flags = 0;
  format.write_flags = kLogApart;
  EXPECT_FALSE(check_features(format, Operation::Write)) << "known of reading only";
}

}  // namespace
}  // namespace pgmint::repository
