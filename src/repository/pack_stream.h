// Records into packs, one pack after the other: what each worker writes to.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/guarded.h"
#include "repository/pack.h"

namespace pgmint::repository {

/// Takes a complete pack; blocks while others are waiting. @errors whatever ended the run
using PackSink = std::function<Status(FinishedPack)>;

/// Memory of packs that were put, for packs to come: fresh memory costs a page fault every 4 KiB. Thread-safe.
class PackBuffers {
 public:
  DirectBuffer take();
  void give(DirectBuffer buffer);

 private:
  Guarded<std::vector<DirectBuffer>> spare_;
};

/// Shared by all streams of a run. All borrowed; next_pack is thread-safe.
struct PackSettings {
  RecordContext context;
  const ClusterKeys& keys;
  codec::CodecChoice codec;
  RandomSource& random;
  std::function<PackId()> next_pack;
  PackBuffers& buffers;
  std::size_t target = kPackTarget;  ///< bytes that a pack should have
  std::size_t limit = target;        ///< bytes at which a pack is closed also in the middle of a run; not below `target`
};

/// Not thread-safe: one per worker. Destroying it discards the pack that is not closed.
class PackStream {
 public:
  PackStream(const PackSettings& settings, PackKind kind, PackSink sink);

  /// Seals `plain` into the current pack, or a new one. @errors Key, ResourceLimit, the sink's
  Result<RecordLocation> append(RecordType type, ByteView plain);
  /// A record of another pack, as it is. @errors the sink's
  Result<RecordLocation> append_sealed(const RecordLocation& from, ByteView stored);
  ByteArray<16> fingerprint(const crypto::Nonce& nonce, ByteView plain) { return sealer_.fingerprint(nonce, plain); }
  /// A run of records that are read together ends here. The pack is closed when it is nearer to its target than it would be with another run as long as this
  /// one, so that runs stand in one pack and packs are as large as they should be. A stream without runs closes packs at the limit.
  Status end_run();
  /// Hands on what is left. The stream may be used again.
  Status close();
  /// From now on packs go there.
  void redirect(PackSink sink) { sink_ = std::move(sink); }
  /// Of everything appended so far, without the packs' own overhead.
  std::uint64_t sealed_bytes() const { return sealed_bytes_; }

 private:
  Status make_room();

  const PackSettings& settings_;
  PackKind kind_;
  PackSink sink_;
  RecordSealer sealer_;
  std::optional<PackWriter> writer_;
  std::uint64_t sealed_bytes_ = 0;
  std::uint64_t run_begin_ = 0;  ///< in sealed_bytes_
};

}  // namespace pgmint::repository
