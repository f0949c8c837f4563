#include "repository/mirror_absence.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <unordered_map>

#include "repository/field_list.h"
#include "repository/key_objects.h"
#include "repository/layout.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kNoteMax = 16 << 20;
constexpr std::size_t kNamesInNote = 20'000;
constexpr std::size_t kRemoveBatch = 10'000;
constexpr std::size_t kNameMax = 512;
constexpr std::size_t kDigestSize = 32;

struct Note {
  std::string name;
  AbsenceNote content;
};

class Tidying {
 public:
  Tidying(storage::BlobStore& mirror, const RepositoryId& repository, const Vanished& vanished, Clock& clock, RandomSource& random,
          const ReplicateOptions& options, ReplicatedCluster& report)
      : mirror_(mirror), repository_(repository), vanished_(vanished), random_(random), options_(options), report_(report),
        // A clock that runs ahead must not take anything away.
        now_(std::min(clock.now(), mirror.store_time().value_or(clock.now()))) {}

  Status run() {
    for (const auto& info : vanished_.objects) {
      since_.emplace(info.name, std::nullopt);
      report_.vanished.add(info.size);
    }
    TRY(read_notes());
    if (!options_.dry_run) TRY(note_new());
    TRY(remove_due());
    if (!options_.dry_run) TRY(write_notes_anew());
    return ok();
  }

 private:
  Status read_notes() {
    for (const auto& blob : TRY(storage::list_all(mirror_, mirror_absences_prefix(report_.id)))) {
      const auto object = TRY(mirror_.read(blob.name, kNoteMax));
      if (!object) continue;
      notes_.push_back({blob.name, TRY(parse_absence(*object, repository_, report_.id).context(blob.name))});
      for (const auto& name : notes_.back().content.objects) {
        const auto found = since_.find(name);
        if (found == since_.end()) continue;
        // Two notes of one object: whoever wrote them anew was cut off.
        found->second = std::min(found->second.value_or(TimePoint::max()), notes_.back().content.since);
      }
    }
    return ok();
  }

  Status write_note(TimePoint since, const std::vector<std::string>& objects) {
    ByteArray<8> unique{};
    random_.fill(unique);
    const auto name = fmt::format("{}{:016x}-{}", mirror_absences_prefix(report_.id), static_cast<std::uint64_t>(since.time_since_epoch().count()), to_hex(unique));
    if (!TRY(create_object(mirror_, name, encode_absence({since, objects}, repository_, report_.id))))
      return Error(Errc::Busy, fmt::format("{} exists already", name), Hint{"run the command again"});
    return ok();
  }

  Status note_new() {
    std::vector<std::string> fresh;
    for (const auto& info : vanished_.objects) {
      auto& since = since_.at(info.name);
      if (since) continue;
      since = now_;
      fresh.push_back(info.name);
      if (fresh.size() < kNamesInNote) continue;
      TRY(write_note(now_, fresh));
      fresh.clear();
    }
    return fresh.empty() ? ok() : write_note(now_, fresh);
  }

  bool is_due(const storage::BlobInfo& info) const {
    const auto& since = since_.at(info.name);
    return since && *since <= now_ - options_.keep_removed;
  }

  Status remove_due() {
    std::vector<const storage::BlobInfo*> due;
    ObjectCount count;
    for (const auto& info : vanished_.objects) {
      if (is_due(info)) {
        due.push_back(&info);
        count.add(info.size);
      } else {
        const auto next = since_.at(info.name).value_or(now_) + options_.keep_removed;
        report_.next_removal = std::min(report_.next_removal.value_or(next), next);
      }
    }
    if (due.empty()) return ok();
    report_.held_back = !options_.remove_many && (count.objects > vanished_.all.objects / 2 || count.bytes > vanished_.all.bytes / 2);
    if (report_.held_back) return ok();
    report_.removed = count;
    if (options_.dry_run) return ok();
    // Roots before packs, as collect does: a root whose packs are gone would look like damage.
    const auto roots = manifests_prefix(report_.id);
    std::stable_partition(due.begin(), due.end(), [&](const auto* info) { return info->name.starts_with(roots); });
    std::vector<std::string> batch;
    std::set<std::string> locked;
    for (std::size_t i = 0; i < due.size(); ++i) {
      batch.push_back(due[i]->name);
      const bool kind_ends = i + 1 == due.size() || due[i + 1]->name.starts_with(roots) != due[i]->name.starts_with(roots);
      if (!kind_ends && batch.size() < kRemoveBatch) continue;
      if (options_.cancel != nullptr) TRY(options_.cancel->check());
      if (options_.progress) options_.progress({"remove", 0, 0, batch.front()});
      for (auto& name : TRY(mirror_.remove_unlocked(batch).context("mirror: remove"))) locked.insert(std::move(name));
      batch.clear();
    }
    for (const auto* info : due) {
      if (!locked.contains(info->name)) {
        since_.erase(info->name);
        continue;
      }
      // A later run removes it, once its lock has passed.
      --report_.removed.objects;
      report_.removed.bytes -= info->size;
    }
    return ok();
  }

  /// Without what was removed, and what is there again: should that vanish once more, it stays for the whole time.
  Status write_notes_anew() {
    for (const auto& note : notes_) {
      std::vector<std::string> left;
      const auto& content = note.content;
      std::ranges::copy_if(content.objects, std::back_inserter(left), [&](const auto& name) { return since_.contains(name); });
      if (left.size() == content.objects.size()) continue;
      if (!left.empty()) TRY(write_note(content.since, left));
      TRY(mirror_.remove(note.name));
    }
    return ok();
  }

  storage::BlobStore& mirror_;
  const RepositoryId& repository_;
  const Vanished& vanished_;
  RandomSource& random_;
  const ReplicateOptions& options_;
  ReplicatedCluster& report_;
  const TimePoint now_;
  std::unordered_map<std::string, std::optional<TimePoint>> since_;  ///< of what has vanished and is here
  std::vector<Note> notes_;
};

}  // namespace

Bytes encode_absence(const AbsenceNote& note, const RepositoryId& repository, const ClusterId& cluster) {
  codec::BinaryWriter out;
  out.raw(encode_header({ObjectKind::MirrorAbsence, Epoch(0), repository, cluster, {}}));
  out.u64(static_cast<std::uint64_t>(note.since.time_since_epoch().count()));
  out.varint(note.objects.size());
  for (const auto& object : note.objects) out.text(object);
  out.raw(crypto::sha256(out.view()));
  return out.take();
}

Result<AbsenceNote> parse_absence(ByteView object, const RepositoryId& repository, const ClusterId& cluster) {
  TRY(expect_header(object, ObjectKind::MirrorAbsence, repository, cluster));
  if (object.size() < kHeaderSize + kDigestSize || !std::ranges::equal(crypto::sha256(object.first(object.size() - kDigestSize)), object.last(kDigestSize)))
    return Error(Errc::Corruption, "a note of what vanished is damaged", Hint{"remove it: what it notes then stays in the mirror for the whole time once more"});
  codec::BinaryReader in(object.subspan(kHeaderSize, object.size() - kHeaderSize - kDigestSize), "note of what vanished");
  AbsenceNote note;
  note.since = TimePoint(std::chrono::microseconds(static_cast<std::int64_t>(TRY(in.u64()))));
  const auto count = TRY(in.count(1));
  for (std::size_t i = 0; i < count; ++i) note.objects.push_back(TRY(in.text(kNameMax)));
  TRY(in.expect_end());
  return note;
}

Status tidy_vanished(storage::BlobStore& mirror, const RepositoryId& repository, const Vanished& vanished, Clock& clock, RandomSource& random,
                     const ReplicateOptions& options, ReplicatedCluster& report) {
  return Tidying(mirror, repository, vanished, clock, random, options, report).run();
}

}  // namespace pgmint::repository
