#include "repository/object_copy.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/guarded.h"
#include "base/task_group.h"

namespace pgmint::repository {
namespace {

/// Up to here an object is read at once: one request, and a pack fits in.
constexpr std::uint64_t kWholeMax = 64 << 20;
constexpr std::size_t kPieceSize = 8 << 20;
/// What the limit of the rate is asked for at once, so that progress is told meanwhile.
constexpr std::uint64_t kPaidAtOnce = 256 << 10;

}  // namespace

void ObjectCopy::tell(std::string_view phase, std::string detail) {
  if (!options_.progress) return;
  const std::lock_guard lock(telling_);
  options_.progress({phase, done_, total_, std::move(detail)});
}

Status ObjectCopy::pay(std::uint64_t bytes) {
  for (std::uint64_t paid = 0; options_.limiter != nullptr && paid < bytes; paid += kPaidAtOnce) {
    TRY(options_.limiter->take(std::min(kPaidAtOnce, bytes - paid)));
    tell("copy", "");
  }
  return ok();
}

Result<storage::Created> ObjectCopy::create(const storage::BlobInfo& info, bool& vanished) {
  TRY(pay(info.size <= kWholeMax ? info.size : 0));
  if (info.size <= kWholeMax) {
    const auto data = TRY(source_.read(info.name, kWholeMax).context("source"));
    vanished = !data;
    if (vanished) return storage::Created::AlreadyExists;
    if (data->size() != info.size)
      return Error(Errc::Storage, fmt::format("source: {} is listed with {} bytes and has {}", info.name, info.size, data->size()), Hint{"pgmint verify, at the source"});
    return mirror_.create(info.name, *data).context("mirror");
  }
  Bytes piece;
  storage::BlobStream stream;
  stream.size = info.size;
  stream.piece = [&](std::uint64_t offset) -> Result<ByteView> {
    TRY(check());
    piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPieceSize, info.size - offset)));
    TRY(pay(piece.size()));
    auto read = source_.read_range(info.name, offset, piece);
    vanished = !read && read.failure().code() == Errc::NotFound;
    TRY(std::move(read).context("source"));
    return ByteView(piece);
  };
  auto created = mirror_.create_from(info.name, stream);
  if (!created && vanished) return storage::Created::AlreadyExists;
  return std::move(created).context("mirror");
}

Result<bool> same_bytes(storage::BlobStore& a, storage::BlobStore& b, const std::string& name, std::uint64_t size) {
  Bytes one, other;
  for (std::uint64_t offset = 0; offset < size; offset += one.size()) {
    one.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPieceSize, size - offset)));
    other.resize(one.size());
    TRY(a.read_range(name, offset, one));
    TRY(b.read_range(name, offset, other));
    if (one != other) return false;
  }
  return true;
}

/// Somebody else copies at the same time, or a request of an earlier run has landed late.
Result<bool> ObjectCopy::is_same(const storage::BlobInfo& info) {
  const auto there = TRY(mirror_.stat(info.name));
  if (!there) return Error(Errc::Unknown, fmt::format("mirror: {} exists for the store and cannot be read", info.name), Hint{"run the command again"});
  if (there->size != info.size) return false;
  return same_bytes(source_, mirror_, info.name, info.size);
}

Result<ObjectCopy::Outcome> ObjectCopy::copy(const storage::BlobInfo& info) {
  TRY(check());
  bool vanished = false;
  const auto created = TRY(create(info, vanished).context(info.name));
  done_ += info.size;
  tell("copy", "");
  if (vanished) return Outcome::Vanished;
  if (created == storage::Created::Yes) return Outcome::Copied;
  auto same = is_same(info).context(info.name);
  if (!same && same.failure().code() == Errc::NotFound) return Outcome::Vanished;
  return TRY(std::move(same)) ? Outcome::WasThere : Outcome::Differs;
}

Result<ObjectCopy::Done> ObjectCopy::copy_all(const std::vector<storage::BlobInfo>& objects, unsigned workers) {
  Guarded<Done> done;
  std::atomic<std::size_t> next{0};
  const auto work = [&](const std::function<bool()>& stop) -> Status {
    for (auto at = next++; at < objects.size() && !stop(); at = next++) {
      const auto& info = objects[at];
      const auto outcome = TRY(copy(info));
      done.with([&](Done& all) {
        if (outcome == Outcome::Copied) {
          all.count.add(info.size);
          all.copied.push_back(info.name);
        }
        if (outcome == Outcome::Differs) all.differing.push_back(info.name);
        if (outcome == Outcome::Vanished) ++all.vanished;
      });
    }
    return ok();
  };
  if (workers <= 1 || objects.size() <= 1) {
    TRY(work([] { return false; }));
  } else {
    TaskGroup group(options_.cancel);
    for (std::size_t i = 0; i < std::min<std::size_t>(workers, objects.size()); ++i)
      group.spawn([&] { return work([&] { return group.cancelled(); }); });
    TRY(group.join());
    TRY(check());
  }
  return done.with([](Done& all) { return std::move(all); });
}

}  // namespace pgmint::repository
