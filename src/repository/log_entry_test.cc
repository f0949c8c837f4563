#include "repository/log_entry.h"

#include <gtest/gtest.h>

#include "repository/log_content.h"
#include "repository/log_fixture.h"

namespace pgmint::repository {
namespace {

class LogEntryTest : public testing::Test {
 protected:
  SeededRandom random{1};
  RecordContext context{random.id<RepositoryId>(), random.id<ClusterId>()};
  crypto::Key256 key = crypto::Key256::generate(random);
  crypto::SigningKey actor{crypto::Key256::generate(random)};

  LogEntry entry_with(EntryContent content) {
    LogEntry entry;
    entry.generation = 2;
    entry.seq = 41;
    random.fill(entry.previous);
    random.fill(entry.attempt);
    entry.time = at_second(5);
    entry.actor_label = "postgres@db1";
    entry.command = "backup main";
    entry.content = std::move(content);
    return entry;
  }
  Bytes encode(const LogEntry& entry) { return encode_entry(entry, context, key, actor, random); }
  Result<LogEntry> parse(ByteView object) { return parse_entry(object, context, key, 2, 41); }
};

std::vector<EntryContent> one_of_each_kind() {
  auto snap = snap_of(5, {pack(5, 0), pack(5, 300)}, {pack_id(4, 1)});
  snap.root_sha256[3] = std::byte{9};
  snap.root_size = 12345;
  snap.type = BackupType::Incremental;
  snap.retain_until = at_second(1000);
  GenesisEntry genesis;
  genesis.cluster_name = "main";
  genesis.system_id = 7;
  genesis.root_key = public_key(1);
  genesis.snapshots = {snap, snap_of(6, {})};
  genesis.previous_generation[0] = std::byte{1};
  genesis.incarnation = Incarnation(3);
  genesis.enrolments = {{public_key(2), 0x30, Role::Host, "host"}};
  genesis.holds = {{session_id(5), "audit"}};
  genesis.floors = {{7, Incarnation(1), 1, 100}, {7, Incarnation(1), 2, 200}};
  genesis.window_floors = {{7, Incarnation(1), 2, 300}};
  genesis.known_sessions = {session_id(1), session_id(2)};
  BeginEntry begin{session_id(5), SessionPurpose::Read, session_id(4), at_second(9)};
  return {genesis, begin, RenewEntry{session_id(5), at_second(10)}, snap, EndEntry{session_id(5)},
          ForgetEntry{session_id(5)}, HoldEntry{session_id(5), "why"}, ReleaseEntry{session_id(5)},
          PurgeEntry{{pack_id(1, 2), pack_id(3, 4)}}, AbortEntry{session_id(5)},
          EnrolEntry{public_key(4), 7, Role::Maintenance, "janitor"}, RevokeEntry{public_key(4)},
          AdoptEntry{8, Incarnation(2), "pg_upgrade"}, FloorEntry{{{7, Incarnation(1), 1, 100}}, {{7, Incarnation(1), 1, 300}}},
          AuditEntry{"restore", "to /tmp", {{ProofDepth::Hashed, true, at_second(7), 3, {{session_id(1), 0, 4}}}}, CommandRun{"restore", "ssh", 4, at_second(6)}}};
}

/// docs/format/log.md, byte for byte: kind, time, five fields.
TEST(LogContent, AHoldWithAnEndIsWrittenAsTheFormatSays) {
  LogEntry entry;
  entry.time = TimePoint(std::chrono::microseconds(1'790'000'000'000'000));
  HoldEntry hold{session_id(5), "tax"};
  for (const bool has_end : {false, true}) {
    if (has_end) hold.until = TimePoint(std::chrono::microseconds(0x0102030405060708));
    entry.content = hold;
    const auto body = encode_body(entry);
    const std::string end = has_end ? "05080807060504030201" : "";  // behind 4, the command, which is empty
    EXPECT_NE(to_hex(body).find("03037461780400" + end), std::string::npos) << to_hex(body);
    LogEntry parsed;
    ASSERT_TRUE(parse_body(body, parsed));
    EXPECT_EQ(std::get<HoldEntry>(parsed.content).until, hold.until);
    EXPECT_EQ(std::get<HoldEntry>(parsed.content).reason, "tax");
  }
}

TEST(LogContent, AFloorWithWindowsIsWrittenAsTheFormatSays) {
  const std::string golden =
      "0e0000e025dafe5b060005011807000000000000000100000001000000280000030000000002097573657240686f7374"
      "040b657870697265206d61696e0618070000000000000001000000010000002800000c00000000061807000000000000"
      "0001000000020000000000000d00000000";
  LogEntry entry;
  entry.time = TimePoint(std::chrono::microseconds(1'790'000'000'000'000));
  entry.actor_label = "user@host";
  entry.command = "expire main";
  entry.content = FloorEntry{{{7, Incarnation(1), 1, 0x3000028}}, {{7, Incarnation(1), 1, 0xC000028}, {7, Incarnation(1), 2, 0xD000000}}};
  const auto body = encode_body(entry);
  EXPECT_EQ(to_hex(body), golden);
  LogEntry parsed;
  ASSERT_TRUE(parse_body(body, parsed));
  const auto& floor = std::get<FloorEntry>(parsed.content);
  ASSERT_EQ(floor.lines.size(), 1u);
  ASSERT_EQ(floor.window_lines.size(), 2u);
  EXPECT_EQ(floor.window_lines[1].timeline, 2u);
  EXPECT_EQ(floor.window_lines[1].lsn, 0xD000000u);
  // One byte short or long in a line is damage.
  for (const std::size_t at : {body.size() - 25, std::size_t{12}}) {
    auto wrong = body;
    wrong[at] = std::byte{static_cast<unsigned char>(std::to_integer<unsigned>(wrong[at]) - 1)};
    EXPECT_FALSE(parse_body(wrong, parsed));
  }
}

/// docs/format/log.md, byte for byte: kind, time, five fields.
TEST(LogContent, ACommandRunIsWrittenAsTheFormatSays) {
  const std::string golden =
      "0f0000e025dafe5b0600" "05" "0107" "636f6d6d616e64" "0209" "7573657240686f7374" "0306" "657869742034"
      "0414" "726573746f7265202d2d746f202f7372762f7067"
      "0825" "07" "726573746f7265" "10" "7373682066726f6d203139322e302e32" "04000000" "00e025dafe5b0600";
  LogEntry entry;
  entry.time = TimePoint(std::chrono::microseconds(1'790'000'000'000'000));
  entry.actor_label = "user@host";
  entry.command = "restore --to /srv/pg";
  entry.content = AuditEntry{"command", "exit 4", {}, CommandRun{"restore", "ssh from 192.0.2", 4, entry.time}};
  const auto body = encode_body(entry);
  EXPECT_EQ(to_hex(body), golden);
  LogEntry parsed;
  ASSERT_TRUE(parse_body(body, parsed));
  const auto& run = std::get<AuditEntry>(parsed.content).run;
  ASSERT_TRUE(run);
  EXPECT_EQ(run->operation, "restore");
  EXPECT_EQ(run->origin, "ssh from 192.0.2");
  EXPECT_EQ(run->exit_code, 4u);
  EXPECT_EQ(run->began, entry.time);
  // A byte less in a text is damage.
  auto changed = body;
  changed[body.size() - 37] = std::byte{6};
  EXPECT_FALSE(parse_body(changed, parsed));
}

/// docs/format/log.md, byte for byte: kind, time, six fields.
TEST(LogContent, PacksReadAreWrittenAsTheFormatSays) {
  const std::string golden =
      "0f0000e025dafe5b0600" "06" "010e" "7061636b73207665726966696564" "0209" "7573657240686f7374" "0301" "78"
      "0412" "766572696679202d2d726561642d64617461"
      "063c" "0200" "00e025dafe5b0600" "2900000000000000" "02" "00010000000000000000000000000000" "02" "0002" "0100" "00020000000000000000000000000000" "01" "810100"
      "0626" "0301" "00e025dafe5b0600" "2c01000000000000" "01" "00010000000000000000000000000000" "01" "0300";
  LogEntry entry;
  entry.time = TimePoint(std::chrono::microseconds(1'790'000'000'000'000));
  entry.actor_label = "user@host";
  entry.command = "verify --read-data";
  entry.content = AuditEntry{"packs verified", "x",
                             {{ProofDepth::Opened, false, entry.time, 41, {{session_id(1), 0, 2}, {session_id(1), 4, 4}, {session_id(2), 129, 129}}},
                              {ProofDepth::Decompressed, true, entry.time, 300, {{session_id(1), 3, 3}}}}};
  const auto body = encode_body(entry);
  EXPECT_EQ(to_hex(body), golden);
  LogEntry parsed;
  ASSERT_TRUE(parse_body(body, parsed));
  const auto& audit = std::get<AuditEntry>(parsed.content);
  ASSERT_EQ(audit.packs.size(), 2u);
  EXPECT_EQ(audit.packs[0].packs.size(), 3u);
  EXPECT_EQ(audit.packs[0].packs[2], (PackRun{session_id(2), 129, 129}));
  EXPECT_TRUE(audit.packs[1].damaged);
  EXPECT_EQ(audit.packs[1].seen, 300u);
  EXPECT_EQ(audit.packs[1].depth, ProofDepth::Decompressed);
  // A session without packs is damage; a depth or an outcome of a later version is passed over.
  const auto second = body.size() - 38;
  auto changed = body;
  changed[second + 35] = std::byte{0};
  EXPECT_FALSE(parse_body(changed, parsed));
  for (const std::size_t at : {second, second + 1}) {
    changed = body;
    changed[at] = std::byte{4};
    ASSERT_TRUE(parse_body(changed, parsed));
    EXPECT_EQ(std::get<AuditEntry>(parsed.content).packs.size(), 1u);
  }
}

TEST_F(LogEntryTest, EveryKindReadsBackAsItWasWritten) {
  const auto contents = one_of_each_kind();
  ASSERT_EQ(contents.size(), std::variant_size_v<EntryContent>);
  for (const auto& content : contents) {
    const auto entry = entry_with(content);
    const auto object = encode(entry);
    auto parsed = parse(object);
    ASSERT_TRUE(parsed) << entry_kind_name(kind_of(content)) << ": " << parsed.failure().describe();
    EXPECT_EQ(parsed->actor, actor.public_key());
    EXPECT_EQ(parsed->previous, entry.previous);
    EXPECT_EQ(parsed->attempt, entry.attempt);
    EXPECT_EQ(parsed->time, entry.time);
    EXPECT_EQ(parsed->actor_label, entry.actor_label);
    EXPECT_EQ(parsed->command, entry.command);
    EXPECT_EQ(kind_of(parsed->content), kind_of(content));
    // Field by field: two equal contents have one encoding, and every field is in it (the golden files hold that).
    EXPECT_EQ(encode_body(*parsed), encode_body(entry)) << entry_kind_name(kind_of(content));
  }
}

TEST_F(LogEntryTest, SnapKeepsEveryField) {
  const auto object = encode(entry_with(one_of_each_kind()[3]));
  const auto parsed = parse(object);
  ASSERT_TRUE(parsed);
  const auto& snap = std::get<SnapEntry>(parsed->content);
  EXPECT_EQ(snap.session, session_id(5));
  EXPECT_EQ(snap.root_sha256[3], std::byte{9});
  EXPECT_EQ(snap.root_size, 12345u);
  EXPECT_EQ(snap.name, "backup-5");
  EXPECT_EQ(snap.type, BackupType::Incremental);
  EXPECT_EQ(snap.added, (std::vector{pack(5, 0), pack(5, 300)}));
  EXPECT_EQ(snap.removed, std::vector{pack_id(4, 1)});
  EXPECT_EQ(snap.timeline, 1u);
  EXPECT_EQ(snap.start_lsn, 5000u);
  EXPECT_EQ(snap.stop_lsn, 5500u);
  EXPECT_EQ(snap.retain_until, at_second(1000));
  EXPECT_EQ(snap.system_id, 7u);
  EXPECT_EQ(snap.incarnation, Incarnation(1));
}

TEST_F(LogEntryTest, EveryFlippedBitIsNoticed) {
  const auto object = encode(entry_with(one_of_each_kind()[3]));
  for (std::size_t i = 0; i < object.size(); ++i) {
    auto changed = object;
    changed[i] ^= std::byte{0x10};
    EXPECT_FALSE(parse(changed)) << "byte " << i;
  }
}

TEST_F(LogEntryTest, EveryTruncationIsNoticed) {
  const auto object = encode(entry_with(AuditEntry{"a", "b"}));
  for (std::size_t n = 0; n < object.size(); ++n) EXPECT_FALSE(parse(ByteView(object).first(n))) << n;
}

/// Error messages, reasons and lists of keys may be of any length: an entry that nobody could read again would be void, and stop every collection.
TEST_F(LogEntryTest, TextsOfAnyLengthAreCutAndReadAgain) {
  for (const std::size_t length : {4095, 4096, 4097, 100'000}) {
    std::string text(length, 'x');
    for (std::size_t i = 0; i + 1 < length; i += 3) text.replace(i, 2, "\u00fc");
    AuditEntry audit{text, text};
    audit.run = CommandRun{text, text, 4, at_second(6)};
    for (const EntryContent& content : {EntryContent(audit), EntryContent(HoldEntry{session_id(5), text}), EntryContent(AdoptEntry{8, Incarnation(2), text}),
                                        EntryContent(EnrolEntry{public_key(4), 7, Role::Maintenance, text})}) {
      auto entry = entry_with(content);
      entry.actor_label = entry.command = text;
      const auto parsed = parse(encode(entry));
      ASSERT_TRUE(parsed) << length << ": " << parsed.failure().describe();
      EXPECT_EQ(parsed->command, text.substr(0, parsed->command.size()));
      EXPECT_GE(parsed->command.size(), std::min<std::size_t>(length, 4093));
    }
  }
}

TEST_F(LogEntryTest, RefusesAnotherSlotAndAnotherCluster) {
  const auto object = encode(entry_with(AuditEntry{"a", "b"}));
  EXPECT_FALSE(parse_entry(object, context, key, 2, 40));
  EXPECT_FALSE(parse_entry(object, context, key, 1, 41));
  EXPECT_FALSE(parse_entry(object, {context.repository, random.id<ClusterId>()}, key, 2, 41));
  EXPECT_FALSE(parse_entry(object, {random.id<RepositoryId>(), context.cluster}, key, 2, 41));
}

TEST_F(LogEntryTest, TheAttemptIsReadableWithoutAKey) {
  const auto entry = entry_with(AuditEntry{"a", "b"});
  const auto frame = frame_of(encode(entry));
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->attempt, entry.attempt);
  EXPECT_EQ(frame->seq, 41u);
  EXPECT_FALSE(frame_of(to_bytes(as_bytes("short"))));
}

TEST_F(LogEntryTest, AnUnknownKindOrOddFieldIsANewerPgmintsAndNoDamage) {
  LogEntry entry;
  auto body = encode_body(entry_with(AuditEntry{"a", "b"}));
  body[0] = std::byte{200};
  auto kind = parse_body(body, entry);
  ASSERT_FALSE(kind);
  EXPECT_EQ(kind.failure().code(), Errc::Precondition);

  auto odd = encode_body(entry_with(EndEntry{session_id(5)}));
  // Count, then tags 1, 2, 4: an odd tag of a later release in the place of the last.
  const auto last = odd.size() - std::string_view("backup main").size() - 2;
  ASSERT_EQ(odd[last], std::byte{4});
  odd[last] = std::byte{21};
  auto field = parse_body(odd, entry);
  ASSERT_FALSE(field);
  EXPECT_EQ(field.failure().code(), Errc::Precondition);

  odd[last] = std::byte{22};
  EXPECT_TRUE(parse_body(odd, entry)) << "even fields are passed over";
}

TEST_F(LogEntryTest, ALongCommandLineIsCutAtACharacter) {
  auto entry = entry_with(AuditEntry{"a", "b"});
  entry.command.clear();
  for (int i = 0; i < 3000; ++i) entry.command += "\u00e9";
  const auto parsed = parse(encode(entry));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->command.size(), 4096u);
  entry.command.insert(0, "x");
  const auto odd = parse(encode(entry));
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->command.size(), 4095u);
}

TEST_F(LogEntryTest, ACountThatCannotFitIsRefusedBeforeMemoryIsReserved) {
  codec::BinaryWriter body;
  body.u16(static_cast<std::uint16_t>(EntryKind::Purge));
  body.u64(0);
  body.varint(1);  // one field
  body.varint(1);
  codec::BinaryWriter packs;
  packs.varint(std::uint64_t{1} << 60);
  body.bytes(packs.view());
  LogEntry entry;
  const auto parsed = parse_body(body.view(), entry);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.failure().code(), Errc::Corruption);
}

}  // namespace
}  // namespace pgmint::repository
