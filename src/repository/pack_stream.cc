#include "repository/pack_stream.h"

#include <utility>

namespace pgmint::repository {

DirectBuffer PackBuffers::take() {
  return spare_.with([](auto& spare) {
    if (spare.empty()) return DirectBuffer();
    DirectBuffer buffer = std::move(spare.back());
    spare.pop_back();
    return buffer;
  });
}

void PackBuffers::give(DirectBuffer buffer) {
  spare_.with([&](auto& spare) { spare.push_back(std::move(buffer)); });
}

PackStream::PackStream(const PackSettings& settings, PackKind kind, PackSink sink)
    : settings_(settings),
      kind_(kind),
      sink_(std::move(sink)),
      sealer_(settings.context, settings.keys, settings.codec, settings.random) {}

Status PackStream::make_room() {
  if (writer_ && writer_->size() >= settings_.limit) TRY(close());
  if (!writer_)
    writer_.emplace(settings_.context, settings_.next_pack(), kind_, settings_.keys.newest_epoch(), sealer_,
                    settings_.keys.maintenance_key, settings_.random, settings_.buffers.take());
  return ok();
}

Result<RecordLocation> PackStream::append_sealed(const RecordLocation& from, ByteView stored) {
  TRY(make_room());
  sealed_bytes_ += stored.size();
  return writer_->append_sealed(from, stored);
}

Result<RecordLocation> PackStream::append(RecordType type, ByteView plain) {
  TRY(make_room());
  auto location = TRY(writer_->append(type, plain));
  sealed_bytes_ += location.stored_length;
  return location;
}

Status PackStream::end_run() {
  const auto run = sealed_bytes_ - std::exchange(run_begin_, sealed_bytes_);
  return writer_ && writer_->size() + run / 2 >= settings_.target ? close() : ok();
}

Status PackStream::close() {
  if (!writer_ || writer_->empty()) return ok();
  auto pack = std::move(*writer_).finish();
  writer_.reset();
  return sink_(std::move(pack));
}

}  // namespace pgmint::repository
