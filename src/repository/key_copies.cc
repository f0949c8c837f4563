#include "repository/key_copies.h"

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "codec/binary.h"
#include "crypto/hash.h"
#include "repository/key_objects.h"
#include "repository/layout.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kMagic = "PGMINT-KEY-COPIES-2";
constexpr std::uint64_t kFileMax = 64 << 20;
constexpr std::size_t kObjectMax = 1 << 20;
constexpr std::size_t kNameMax = 512;

/// "c/<id>/keyring/".
bool is_ring_prefix(std::string_view prefix) { return prefix.starts_with(kClustersPrefix) && prefix.ends_with("/keyring/"); }
bool is_ring(std::string_view name) { return name.starts_with(kClustersPrefix) && name.find("/keyring/") != std::string_view::npos; }
bool is_key_object(std::string_view name) { return name == kFormatName || name.starts_with(kKeysPrefix) || is_ring(name); }

}  // namespace

KeyCopies::KeyCopies(std::unique_ptr<storage::BlobStore> inner, std::filesystem::path directory)
    : ForwardingStore(std::move(inner)), file_(std::move(directory) / to_hex(crypto::sha256(as_bytes(describe()))).substr(0, 32)) {
  load();
}

bool KeyCopies::answered() const {
  const std::lock_guard lock(mutex_);
  return answered_;
}

void KeyCopies::distrust() {
  const std::lock_guard lock(mutex_);
  trusted_ = answered_ = false;
  fresh_ = {};
}

bool KeyCopies::knows_no_mark() {
  const std::lock_guard lock(mutex_);
  if (!trusted_ || !kept_.no_mark) return false;
  answered_ = true;
  return true;
}

void KeyCopies::note_no_mark(bool none) {
  const std::lock_guard lock(mutex_);
  fresh_.no_mark = none;
}

void KeyCopies::forget() {
  distrust();
  std::error_code gone;
  std::filesystem::remove(file_, gone);
}

bool KeyCopies::confirm(const ClusterId& cluster, Change change) {
  const std::lock_guard lock(mutex_);
  if (trusted_) {
    const auto at = kept_.confirmed.find(cluster);
    if (at != kept_.confirmed.end() && at->second == change) return true;
    known_[cluster] = change;  // what is read from here on is read after it
    return false;
  }
  if (const auto at = known_.find(cluster); at != known_.end() && at->second == change) {
    fresh_.confirmed[cluster] = change;
  } else {
    known_[cluster] = change;
  }
  save();
  return true;
}

Result<std::optional<Bytes>> KeyCopies::read(const std::string& name, std::uint64_t limit) {
  if (!is_key_object(name)) return inner().read(name, limit);
  {
    const std::lock_guard lock(mutex_);
    const auto at = kept_.objects.find(name);
    if (trusted_ && at != kept_.objects.end() && at->second.size() <= limit) {
      answered_ = true;
      return std::optional(at->second);
    }
  }
  auto read = inner().read(name, limit);
  if (read && *read) {
    const std::lock_guard lock(mutex_);
    fresh_.objects[name] = **read;
  }
  return read;
}

Status KeyCopies::list(const std::string& prefix, const std::string& after, const std::function<Status(const storage::BlobInfo&)>& visit) {
  if (prefix == kMarksPrefix) {
    // Whoever has not asked knows_no_mark() asks the store. While it is away nothing reaches it either, and what waits for it is refused later.
    bool visited = false;
    auto listed = inner().list(prefix, after, [&](const storage::BlobInfo& info) {
      visited = true;
      return visit(info);
    });
    const std::lock_guard lock(mutex_);
    if (listed || visited || !trusted_ || !is_transient(listed.failure().code())) return listed;
    answered_ = true;
    return ok();
  }
  if (prefix != kKeysPrefix || !after.empty()) return inner().list(prefix, after, visit);
  std::optional<std::vector<std::string>> names;
  std::map<std::string, std::uint64_t> sizes;
  {
    const std::lock_guard lock(mutex_);
    if (trusted_) names = kept_.slots;
    if (names) answered_ = true;
    for (const auto& [name, object] : kept_.objects) sizes[name] = object.size();
  }
  if (names) {
    for (const auto& name : *names) TRY(visit({name, sizes[name]}));
    return ok();
  }
  std::vector<std::string> listed;
  TRY(inner().list(prefix, after, [&](const storage::BlobInfo& info) {
    listed.push_back(info.name);
    return visit(info);
  }));
  const std::lock_guard lock(mutex_);
  fresh_.slots = std::move(listed);
  return ok();
}

Result<std::vector<std::string>> KeyCopies::list_parts(const std::string& prefix) {
  if (!is_ring_prefix(prefix)) return inner().list_parts(prefix);
  {
    const std::lock_guard lock(mutex_);
    const auto at = kept_.rings.find(prefix);
    if (trusted_ && at != kept_.rings.end()) {
      answered_ = true;
      return at->second;
    }
  }
  auto parts = TRY(inner().list_parts(prefix));
  const std::lock_guard lock(mutex_);
  fresh_.rings[prefix] = parts;
  return parts;
}

void KeyCopies::load() {
  const auto data = read_file(file_, kFileMax);
  if (!data) return;
  if (const auto parsed = parse(*data); !parsed) {
    log_debug("copies of keys in {} are not used: {}", file_.string(), parsed.failure().describe());
    known_.clear();
    kept_ = {};
  }
  trusted_ = kept_.slots && kept_.objects.contains(std::string(kFormatName));
}

/// What is not whole is kept as nothing: then only known_ counts.
void KeyCopies::save() {
  const bool whole = fresh_.slots && fresh_.objects.contains(std::string(kFormatName)) && !fresh_.confirmed.empty();
  auto written = create_directories(file_.parent_path(), 0700);
  if (written) written = write_file_durably(file_, encode(known_, whole ? fresh_ : Copies{}), 0600);
  if (!written) log_debug("copies of keys are not kept: {}", written.failure().describe());
}

Bytes KeyCopies::encode(const std::map<ClusterId, Change>& known, const Copies& copies) {
  codec::BinaryWriter out;
  out.raw(as_bytes(kMagic));
  for (const auto* changes : {&known, &copies.confirmed}) {
    out.varint(changes->size());
    for (const auto& [cluster, change] : *changes) {
      out.raw(cluster.bytes);
      out.u32(change.generation);
      out.u64(change.before);
    }
  }
  out.varint(copies.objects.size());
  for (const auto& [name, object] : copies.objects) {
    out.text(name);
    out.bytes(object);
  }
  const auto names = [&](const std::vector<std::string>& all) {
    out.varint(all.size());
    for (const auto& name : all) out.text(name);
  };
  out.u8(copies.slots ? 1 : 0);
  if (copies.slots) names(*copies.slots);
  out.varint(copies.rings.size());
  for (const auto& [prefix, parts] : copies.rings) {
    out.text(prefix);
    names(parts);
  }
  out.u8(copies.no_mark ? 1 : 0);
  out.raw(crypto::sha256(out.view()));
  return out.take();
}

Status KeyCopies::parse(ByteView data) {
  constexpr std::size_t kDigest = sizeof(crypto::Digest);
  codec::BinaryReader in(data, "copies of keys");
  if (data.size() < kDigest || !std::ranges::equal(crypto::sha256(data.first(data.size() - kDigest)), data.last(kDigest))) return in.corrupt("damaged");
  if (as_text(TRY(in.raw(kMagic.size()))) != kMagic) return in.corrupt("another format");
  for (auto* changes : {&known_, &kept_.confirmed}) {
    for (auto left = TRY(in.count(1)); left > 0; --left) {
      const ClusterId cluster{TRY(in.array<16>())};
      const auto generation = TRY(in.u32());
      (*changes)[cluster] = {generation, TRY(in.u64())};
    }
  }
  for (auto left = TRY(in.count(1)); left > 0; --left) {
    const auto name = TRY(in.text(kNameMax));
    const auto object = TRY(in.bytes(kObjectMax));
    kept_.objects[name].assign(object.begin(), object.end());
  }
  const auto names = [&]() -> Result<std::vector<std::string>> {
    std::vector<std::string> all;
    for (auto left = TRY(in.count(1)); left > 0; --left) all.emplace_back(TRY(in.text(kNameMax)));
    return all;
  };
  if (TRY(in.u8()) != 0) kept_.slots = TRY(names());
  for (auto left = TRY(in.count(1)); left > 0; --left) {
    const auto prefix = TRY(in.text(kNameMax));
    kept_.rings[prefix] = TRY(names());
  }
  kept_.no_mark = TRY(in.u8()) != 0;
  TRY(in.raw(kDigest));
  return in.expect_end();
}

}  // namespace pgmint::repository
