#include "codec/gzip.h"

#include <fmt/format.h>
#include <zlib.h>

namespace pgmint::codec {
namespace {

constexpr int kLevel = 3;                  ///< a dump compresses well, and somebody waits for it
constexpr int kGzipWindow = MAX_WBITS + 16;  ///< zlib's word for gzip's header and trailer
constexpr std::size_t kPiece = 256 << 10;

Bytef* as_zlib(ByteView data) { return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(data.data())); }

/// Runs zlib until it wants more input. @return its last word
template <class Step>
int run(z_stream& stream, ByteView input, Bytes& out, const Step& step) {
  stream.next_in = as_zlib(input);
  stream.avail_in = static_cast<uInt>(input.size());
  for (;;) {
    const auto start = out.size();
    out.resize(start + kPiece);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + start);
    stream.avail_out = kPiece;
    const int said = step();
    out.resize(start + kPiece - stream.avail_out);
    if (said != Z_OK || stream.avail_out != 0) return said;
  }
}

}  // namespace

struct GzipWriter::State {
  z_stream stream{};
};

GzipWriter::GzipWriter() : state_(std::make_unique<State>()) {
  PGMINT_ASSERT(deflateInit2(&state_->stream, kLevel, Z_DEFLATED, kGzipWindow, MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK);
}
GzipWriter::~GzipWriter() { deflateEnd(&state_->stream); }

void GzipWriter::update(ByteView plain, Bytes& out) {
  for (; !plain.empty(); plain = plain.subspan(std::min(plain.size(), kPiece)))
    run(state_->stream, plain.first(std::min(plain.size(), kPiece)), out, [&] { return deflate(&state_->stream, Z_NO_FLUSH); });
}

void GzipWriter::finish(Bytes& out) {
  const int said = run(state_->stream, {}, out, [&] { return deflate(&state_->stream, Z_FINISH); });
  PGMINT_ASSERT(said == Z_STREAM_END);
}

struct GzipReader::State {
  z_stream stream{};
  bool in_member = false;
};

GzipReader::GzipReader() : state_(std::make_unique<State>()) { PGMINT_ASSERT(inflateInit2(&state_->stream, kGzipWindow) == Z_OK); }
GzipReader::~GzipReader() { inflateEnd(&state_->stream); }

Status GzipReader::update(ByteView packed, Bytes& out) {
  while (!packed.empty()) {
    const auto piece = packed.first(std::min(packed.size(), kPiece));
    state_->in_member = true;
    const int said = run(state_->stream, piece, out, [&] { return inflate(&state_->stream, Z_NO_FLUSH); });
    packed = packed.subspan(piece.size() - state_->stream.avail_in);
    if (said == Z_STREAM_END) {
      state_->in_member = false;
      PGMINT_ASSERT(inflateReset(&state_->stream) == Z_OK);
    } else if (said != Z_OK && said != Z_BUF_ERROR) {
      return Error(Errc::Corruption, fmt::format("gzip: {}", state_->stream.msg != nullptr ? state_->stream.msg : "damaged data"));
    }
  }
  return ok();
}

Status GzipReader::finish() const {
  if (state_->in_member) return Error(Errc::Corruption, "gzip: the data is cut off");
  return ok();
}

}  // namespace pgmint::codec
