// Against SoftHSM2 (Debian's package softhsm2), a token in software; what it does not do, such as locking itself, is laid over its answers.
#include "crypto/pkcs11_key.h"

#include <gtest/gtest.h>
#include <p11-kit/pkcs11.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/pkcs11_module.h"

namespace pgmint::crypto {
namespace {

constexpr const char* kSoftHsm = "/usr/lib/softhsm/libsofthsm2.so";
constexpr std::string_view kPin = "4711-user", kSoPin = "4711-officer";
const Bytes kRepository = to_bytes(as_bytes("pgmint:repository:00112233445566778899aabbccddeeff"));

unsigned char* chars(std::string_view text) { return reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())); }

/// A folder of tokens for the whole program: SoftHSM reads its configuration when it is set up, which is once.
class Hsm {
 public:
  static Hsm& instance() {
    static Hsm hsm;
    return hsm;
  }
  Pkcs11Module& module() { return *module_; }
  const CK_FUNCTION_LIST& p11() { return (*module_)(); }

  /// A new token with the user's PIN set.
  CK_SLOT_ID make_token(const std::string& label) {
    CK_ULONG count = 0;
    EXPECT_EQ(p11().C_GetSlotList(0, nullptr, &count), CKR_OK);
    std::vector<CK_SLOT_ID> slots(count);
    EXPECT_EQ(p11().C_GetSlotList(0, slots.data(), &count), CKR_OK);
    const auto free = slots.back();  // SoftHSM keeps an empty one behind the others
    std::string padded = label;
    padded.resize(32, ' ');
    EXPECT_EQ(p11().C_InitToken(free, chars(kSoPin), kSoPin.size(), chars(padded)), CKR_OK);
    EXPECT_EQ(p11().C_GetSlotList(1, nullptr, &count), CKR_OK);
    slots.resize(count);
    EXPECT_EQ(p11().C_GetSlotList(1, slots.data(), &count), CKR_OK);
    for (const auto slot : slots) {
      CK_TOKEN_INFO info{};
      if (p11().C_GetTokenInfo(slot, &info) != CKR_OK || std::string_view(reinterpret_cast<const char*>(info.label), 32) != padded) continue;
      const Session session(*this, slot, CKU_SO, kSoPin);
      EXPECT_EQ(p11().C_InitPIN(session.handle, chars(kPin), kPin.size()), CKR_OK);
      return slot;
    }
    ADD_FAILURE() << "no token " << label;
    return 0;
  }

  struct Session {
    Session(Hsm& of, CK_SLOT_ID slot, CK_USER_TYPE user = CKU_USER, std::string_view pin = kPin) : hsm(of) {
      EXPECT_EQ(hsm.p11().C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &handle), CKR_OK);
      EXPECT_EQ(hsm.p11().C_Login(handle, user, chars(pin), pin.size()), CKR_OK);
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() { EXPECT_EQ(hsm.p11().C_CloseSession(handle), CKR_OK); }
    Hsm& hsm;
    CK_SESSION_HANDLE handle = 0;
  };

  struct KeyKind {
    CK_ULONG size = 32;
    unsigned char extractable = 0, sensitive = 1;
    std::string value{};  ///< empty: drawn in the token
  };
  void make_key(CK_SLOT_ID slot, std::string_view label, std::string_view id, KeyKind kind) {
    const Session session(*this, slot);
    CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    CK_KEY_TYPE aes = CKK_AES;
    unsigned char yes = 1;
    std::vector<CK_ATTRIBUTE> all = {{CKA_CLASS, &secret_key, sizeof secret_key}, {CKA_KEY_TYPE, &aes, sizeof aes}, {CKA_TOKEN, &yes, 1}, {CKA_PRIVATE, &yes, 1},
                                     {CKA_ENCRYPT, &yes, 1}, {CKA_DECRYPT, &yes, 1}, {CKA_SENSITIVE, &kind.sensitive, 1}, {CKA_EXTRACTABLE, &kind.extractable, 1},
                                     {CKA_LABEL, chars(label), label.size()}, {CKA_ID, chars(id), id.size()}};
    CK_OBJECT_HANDLE made = 0;
    if (kind.value.empty()) {
      all.push_back({CKA_VALUE_LEN, &kind.size, sizeof kind.size});
      CK_MECHANISM generate{CKM_AES_KEY_GEN, nullptr, 0};
      EXPECT_EQ(p11().C_GenerateKey(session.handle, &generate, all.data(), all.size(), &made), CKR_OK);
    } else {
      all.push_back({CKA_VALUE, kind.value.data(), kind.value.size()});
      EXPECT_EQ(p11().C_CreateObject(session.handle, all.data(), all.size(), &made), CKR_OK);
    }
  }
  void make_key(CK_SLOT_ID slot, std::string_view label, std::string_view id) { make_key(slot, label, id, KeyKind{}); }

  void remove_keys(CK_SLOT_ID slot) {
    const Session session(*this, slot);
    EXPECT_EQ(p11().C_FindObjectsInit(session.handle, nullptr, 0), CKR_OK);
    CK_OBJECT_HANDLE found[16];
    CK_ULONG count = 0;
    EXPECT_EQ(p11().C_FindObjects(session.handle, found, 16, &count), CKR_OK);
    EXPECT_EQ(p11().C_FindObjectsFinal(session.handle), CKR_OK);
    for (CK_ULONG i = 0; i < count; ++i) EXPECT_EQ(p11().C_DestroyObject(session.handle, found[i]), CKR_OK);
  }

 private:
  Hsm() {
    std::string pattern = (fs::temp_directory_path() / "pgmint-hsm-XXXXXX").string();
    PGMINT_ASSERT(::mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern;
    fs::create_directories(folder_ / "tokens");
    const auto text = fmt::format("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", (folder_ / "tokens").string());
    PGMINT_ASSERT(write_file_durably(folder_ / "softhsm2.conf", as_bytes(text), 0600).has_value());
    ::setenv("SOFTHSM2_CONF", (folder_ / "softhsm2.conf").c_str(), 1);
    auto loaded = Pkcs11Module::load(kSoftHsm);
    EXPECT_TRUE(loaded) << loaded.failure().describe() << ": scripts/setup.sh test";
    module_ = loaded.value();
  }
  ~Hsm() { fs::remove_all(folder_); }

  fs::path folder_;
  Pkcs11Module* module_ = nullptr;
};

/// How often the PIN was asked for, and what is given.
struct Pin {
  std::string text = std::string(kPin);
  int asked = 0, refused = 0;
  PinSource source() {
    return {[this]() -> Result<std::string> {
              ++asked;
              return text;
            },
            [this] { ++refused; }};
  }
};

/// SoftHSM with some of its answers changed, by what stands here.
struct Changed {
  static inline CK_FLAGS added_flags = 0;
  static inline CK_RV encrypt_says = CKR_OK, decrypt_says = CKR_OK, session_says = CKR_OK, list_says = CKR_OK;
  static inline bool draws_iv = false;
  static inline int logins = 0;

  CK_FUNCTION_LIST functions = Hsm::instance().p11();
  Pkcs11Module module{&functions, "changed"};
  Changed() {
    added_flags = 0;
    encrypt_says = decrypt_says = session_says = list_says = CKR_OK;
    draws_iv = false;
    logins = 0;
    functions.C_GetTokenInfo = [](CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
      const auto code = Hsm::instance().p11().C_GetTokenInfo(slot, info);
      info->flags |= added_flags;
      return code;
    };
    functions.C_Login = [](CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char* pin, CK_ULONG size) {
      ++logins;
      return Hsm::instance().p11().C_Login(session, user, pin, size);
    };
    functions.C_EncryptInit = [](CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) {
      if (draws_iv) std::memset(static_cast<CK_GCM_PARAMS*>(mechanism->pParameter)->pIv, 0x5a, 12);
      return encrypt_says != CKR_OK ? encrypt_says : Hsm::instance().p11().C_EncryptInit(session, mechanism, key);
    };
    functions.C_Decrypt = [](CK_SESSION_HANDLE session, unsigned char* in, CK_ULONG in_size, unsigned char* out, CK_ULONG* out_size) {
      const auto code = Hsm::instance().p11().C_Decrypt(session, in, in_size, out, out_size);
      return decrypt_says != CKR_OK ? decrypt_says : code;
    };
    functions.C_GetSessionInfo = [](CK_SESSION_HANDLE session, CK_SESSION_INFO* info) {
      return session_says != CKR_OK ? session_says : Hsm::instance().p11().C_GetSessionInfo(session, info);
    };
    functions.C_GetSlotList = [](unsigned char present, CK_SLOT_ID* slots, CK_ULONG* count) {
      return list_says != CKR_OK ? list_says : Hsm::instance().p11().C_GetSlotList(present, slots, count);
    };
  }
};

TokenKeyName named(const std::string& token, const std::string& object = "kek") {
  TokenKeyName name;
  name.token = token;
  name.object = object;
  return name;
}

/// A token of the test's own name with one key "kek".
class Pkcs11KeyTest : public ::testing::Test {
 protected:
  Pkcs11KeyTest() : slot(hsm.make_token(label())) { hsm.make_key(slot, "kek", "\x01\xff"); }
  static std::string label() { return std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()).substr(0, 32); }

  Result<std::unique_ptr<Pkcs11Key>> open(Pkcs11Module& module, const std::string& object = "kek") { return Pkcs11Key::open(module, named(label(), object), pin.source()); }
  std::unique_ptr<Pkcs11Key> opened() {
    auto key = open(hsm.module());
    EXPECT_TRUE(key) << key.failure().describe();
    return std::move(*key);
  }

  Hsm& hsm = Hsm::instance();
  CK_SLOT_ID slot;
  Pin pin;
  SeededRandom random{42};
};

TEST_F(Pkcs11KeyTest, WrapsForOneRepository) {
  const auto kek = opened();
  ASSERT_TRUE(kek->expect_fit()) << kek->expect_fit().failure().describe();
  EXPECT_EQ(kek->name().token, label());
  EXPECT_EQ(kek->name().object, "kek");
  EXPECT_EQ(to_hex(*kek->name().id), "01ff");
  EXPECT_FALSE(kek->name().serial->empty());
  const auto key = Key256::generate(random);
  const auto wrapped = kek->wrap(key, kRepository, random);
  ASSERT_TRUE(wrapped) << wrapped.failure().describe();
  EXPECT_EQ(wrapped->size(), 2 + 12 + 32 + 16u);
  auto again = opened()->unwrap(*wrapped, kRepository);
  ASSERT_TRUE(again && *again) << (again ? "it does not open" : again.failure().describe());
  EXPECT_TRUE(equal_constant_time((*again)->bytes(), key.bytes()));
  again = kek->unwrap(*wrapped, as_bytes("pgmint:repository:another"));
  ASSERT_TRUE(again) << again.failure().describe();
  EXPECT_FALSE(*again);
  EXPECT_EQ(pin.asked, 2);
  EXPECT_EQ(pin.refused, 0);
}

TEST_F(Pkcs11KeyTest, NoChangedByteOpens) {
  const auto kek = opened();
  const auto wrapped = *kek->wrap(Key256::generate(random), kRepository, random);
  for (std::size_t i = 0; i < wrapped.size(); ++i) {
    Bytes changed = wrapped;
    changed[i] ^= std::byte{1};
    const auto unwrapped = kek->unwrap(changed, kRepository);
    EXPECT_FALSE(unwrapped && *unwrapped) << i;
    EXPECT_TRUE(unwrapped) << i << ": " << unwrapped.failure().describe();
  }
  for (std::size_t n = 0; n < wrapped.size(); ++n) EXPECT_FALSE(*kek->unwrap(ByteView(wrapped).first(n), kRepository)) << n;
  EXPECT_FALSE(*kek->unwrap(Bytes(5000, std::byte{1}), kRepository));
  EXPECT_TRUE(*kek->unwrap(wrapped, kRepository)) << "what does not open leaves no operation behind";
}

/// Made by another program: AESGCM of Python's package cryptography, key 32 times 7, IV 12 times 9, plaintext 32 times 11.
TEST_F(Pkcs11KeyTest, OpensWhatStandsInTheFormat) {
  Hsm::KeyKind known;
  known.value = std::string(32, '\x07');
  hsm.make_key(slot, "known", "\x02", known);
  auto kek = open(hsm.module(), "known");
  ASSERT_TRUE(kek) << kek.failure().describe();
  const auto wrapped = from_hex("010c" "090909090909090909090909" "2c8e8f9fb5fbca6aab69c033ede1a8d4dfbb68f83fe5fccb64a54dadde7f0a71afddf37c7e9350f0a959a199a854cb65");
  ASSERT_TRUE(wrapped);
  const auto unwrapped = (*kek)->unwrap(*wrapped, as_bytes("pgmint:repository:" + std::string(32, '0')));
  ASSERT_TRUE(unwrapped && *unwrapped);
  EXPECT_TRUE(equal_constant_time((*unwrapped)->bytes(), Bytes(32, std::byte{11})));
}

TEST_F(Pkcs11KeyTest, AKeyOfThatNameMadeAnewOpensNothing) {
  const auto wrapped = *opened()->wrap(Key256::generate(random), kRepository, random);
  hsm.remove_keys(slot);
  auto gone = open(hsm.module());
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.failure().code(), Errc::Key);
  EXPECT_NE(gone.failure().describe().find("no AES key \"kek\""), std::string::npos) << gone.failure().describe();
  hsm.make_key(slot, "kek", "\x01\xff");
  EXPECT_FALSE(*opened()->unwrap(wrapped, kRepository));
}

TEST_F(Pkcs11KeyTest, TheTokenAndTheKeyAreChosenByWhatIsNamed) {
  TokenKeyName by_id;
  by_id.serial = opened()->name().serial;
  by_id.id = Bytes{std::byte{1}, std::byte{0xff}};
  EXPECT_TRUE(Pkcs11Key::open(hsm.module(), by_id, pin.source()));
  by_id.slot = slot;
  EXPECT_TRUE(Pkcs11Key::open(hsm.module(), by_id, pin.source()));
  by_id.slot = slot + 1;
  EXPECT_EQ(Pkcs11Key::open(hsm.module(), by_id, pin.source()).failure().code(), Errc::Storage);

  auto absent = Pkcs11Key::open(hsm.module(), named("not there"), pin.source());
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.failure().code(), Errc::Storage);
  EXPECT_NE(absent.failure().describe().find(label()), std::string::npos) << "which ones there are: " << absent.failure().describe();

  hsm.make_key(slot, "kek", "\x02");
  auto two = open(hsm.module());
  ASSERT_FALSE(two);
  EXPECT_EQ(two.failure().code(), Errc::Configuration);
  hsm.make_token("another");
  TokenKeyName any;
  auto several = Pkcs11Key::open(hsm.module(), any, pin.source());
  ASSERT_FALSE(several);
  EXPECT_EQ(several.failure().code(), Errc::Configuration);
}

TEST_F(Pkcs11KeyTest, AWrongPinIsTriedOnce) {
  Changed changed;
  pin.text = "wrong-pin";
  const auto refused = open(changed.module);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Key);
  EXPECT_NE(refused.failure().describe().find("CKR_PIN_INCORRECT"), std::string::npos) << refused.failure().describe();
  EXPECT_NE(refused.failure().describe().find("counts wrong tries"), std::string::npos) << refused.failure().describe();
  EXPECT_EQ(refused.failure().describe().find("wrong-pin"), std::string::npos);
  EXPECT_EQ(Changed::logins, 1);
  pin.text = kPin;
  EXPECT_EQ(open(changed.module).failure().code(), Errc::Key) << "not by this process";
  EXPECT_EQ(Changed::logins, 1);
  EXPECT_EQ(pin.asked, 1) << "nor is the PIN read again";
  EXPECT_EQ(pin.refused, 1) << "and whoever gave it knows";
  EXPECT_TRUE(open(hsm.module()));
}

TEST_F(Pkcs11KeyTest, TheLastTryAndALockedTokenAreLeftAlone) {
  for (const auto& [flag, says] : std::vector<std::pair<CK_FLAGS, std::string>>{{CKF_USER_PIN_FINAL_TRY, "one wrong PIN more would lock it"}, {CKF_USER_PIN_LOCKED, "locked"}}) {
    Changed changed;
    Changed::added_flags = flag;
    const auto refused = open(changed.module);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.failure().code(), Errc::Key);
    EXPECT_NE(refused.failure().describe().find(says), std::string::npos) << refused.failure().describe();
    EXPECT_EQ(Changed::logins, 0);
    EXPECT_EQ(pin.asked, 0);
  }
  Changed changed;
  Changed::added_flags = CKF_USER_PIN_COUNT_LOW;
  EXPECT_TRUE(open(changed.module)) << "somebody's slip, and the PIN here may be right";
}

TEST_F(Pkcs11KeyTest, ATokenThatDrawsItsOwnIvIsUnderstood) {
  Changed changed;
  Changed::draws_iv = true;
  auto kek = open(changed.module);
  ASSERT_TRUE(kek);
  const auto wrapped = (*kek)->wrap(Key256::generate(random), kRepository, random);
  ASSERT_TRUE(wrapped);
  EXPECT_EQ((*wrapped)[2], std::byte{0x5a});
  EXPECT_TRUE(*opened()->unwrap(*wrapped, kRepository));
}

TEST_F(Pkcs11KeyTest, ATokenThatGoesAwayIsAnOutageAndNoWrongKey) {
  const auto wrapped = *opened()->wrap(Key256::generate(random), kRepository, random);
  for (const CK_RV code : {CKR_DEVICE_REMOVED, CKR_DEVICE_ERROR, CKR_TOKEN_NOT_PRESENT, CKR_SESSION_HANDLE_INVALID, CKR_VENDOR_DEFINED | 7}) {
    Changed changed;
    auto kek = open(changed.module);
    ASSERT_TRUE(kek);
    Changed::decrypt_says = Changed::encrypt_says = code;
    EXPECT_EQ((*kek)->unwrap(wrapped, kRepository).failure().code(), Errc::Storage) << code;
    EXPECT_EQ((*kek)->wrap(Key256::generate(random), kRepository, random).failure().code(), Errc::Storage) << code;
  }
  Changed changed;
  auto kek = open(changed.module);
  Changed::decrypt_says = CKR_GENERAL_ERROR;
  EXPECT_FALSE((*kek)->unwrap(wrapped, kRepository).value()) << "vague, and the token is there";
  Changed::session_says = CKR_DEVICE_REMOVED;
  EXPECT_EQ((*kek)->unwrap(wrapped, kRepository).failure().code(), Errc::Storage) << "vague, and it is not";
  Changed::session_says = CKR_OK;
  Changed::list_says = CKR_DEVICE_ERROR;
  EXPECT_EQ(open(changed.module).failure().code(), Errc::Storage);
  Changed::list_says = CKR_OK;
  Changed::encrypt_says = CKR_KEY_FUNCTION_NOT_PERMITTED;
  EXPECT_EQ((*kek)->wrap(Key256::generate(random), kRepository, random).failure().code(), Errc::Key);
}

TEST_F(Pkcs11KeyTest, OnlyAKeyThatStaysInTheTokenIsFit) {
  Hsm::KeyKind extractable, readable, small;
  extractable.extractable = 1;
  readable.sensitive = 0;
  small.size = 16;
  hsm.make_key(slot, "extractable", "\x02", extractable);
  hsm.make_key(slot, "readable", "\x03", readable);
  hsm.make_key(slot, "small", "\x04", small);
  for (const auto& [object, says] : std::vector<std::pair<std::string, std::string>>{{"extractable", "CKA_EXTRACTABLE"}, {"readable", "CKA_SENSITIVE"}, {"small", "128 bits"}}) {
    auto kek = open(hsm.module(), object);
    ASSERT_TRUE(kek) << kek.failure().describe();
    const auto unfit = (*kek)->expect_fit();
    ASSERT_FALSE(unfit) << object;
    EXPECT_EQ(unfit.failure().code(), Errc::Key);
    EXPECT_NE(unfit.failure().describe().find(says), std::string::npos) << unfit.failure().describe();
  }
}

TEST_F(Pkcs11KeyTest, AForkedProcessSetsTheModuleUpAgain) {
  const auto wrapped = *opened()->wrap(Key256::generate(random), kRepository, random);
  const auto child = ::fork();
  if (child == 0) {
    auto module = Pkcs11Module::load(kSoftHsm);
    bool good = module.has_value();
    if (good) {
      auto kek = open(**module);
      good = kek && (*kek)->unwrap(wrapped, kRepository).has_value();
    }
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(*opened()->unwrap(wrapped, kRepository)) << "and ours goes on";
}

TEST(Pkcs11Module, WhatIsNoModuleIsNotLoaded) {
  for (const auto* wrong : {"/nowhere/module.so", "relative.so", "/etc/passwd", "/usr/lib/x86_64-linux-gnu/libz.so.1"}) {
    const auto refused = Pkcs11Module::load(wrong);
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.failure().code(), Errc::Configuration);
    EXPECT_NE(refused.failure().describe().find(wrong), std::string::npos);
  }
}

}  // namespace
}  // namespace pgmint::crypto
