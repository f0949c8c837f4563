#include "codec/wal_piece.h"

#include "base/log.h"
#include "codec/page_record.h"
#include "codec/record_streams.h"
#include "codec/wal_decoder.h"
#include "codec/wal_kind.h"

namespace pgmint::codec {
namespace {

// Header, seven sizes of three bytes: control, stored control, raw planes, remainder, stored remainder, images (pages), stored images;
// then how images are stored, u8. Then raw planes, control, remainder, images.
constexpr std::size_t kSizes = 7;
constexpr std::size_t kHeaderSize = kSizes * kSizeBytes + 1;
struct Header {
  std::size_t control = 0, control_stored = 0, raw = 0, remainder = 0, remainder_stored = 0, images = 0, images_stored = 0;
};
enum class ImageForm : std::uint8_t { PageRecord = 0, Compressed = 1, Plain = 2 };

BlockCompressor make_compressor(BlockCodec codec, int level) {
  return codec == BlockCodec::Zstd && level == 1 ? BlockCompressor::for_residue() : BlockCompressor(codec, level);
}

}  // namespace

WalCheck decode_and_compare_wal() {
  struct Checker {
    WalDecoder decoder;
    Bytes again = Bytes(kWalPieceMax);
  };
  return [checker = std::make_shared<Checker>()](const WalStreams& streams, ByteView piece) {
    const auto out = MutableByteView(checker->again).first(piece.size());
    // Every byte of a page is written by the decoder whatever the streams say; nothing can look right because it was right before.
    return checker->decoder.decode(streams.control, streams.raw, streams.remainder, streams.images, out).has_value() &&
           std::memcmp(out.data(), piece.data(), piece.size()) == 0;
  };
}

struct WalPieceWriter::State {
  BlockCodec codec;
  int level;
  BlockCompressor compressor;
  std::optional<PageRecordWriter> pages;  // made by the first piece that has images
  WalCheck check;
  WalEncoder encoder{};
  WalChain proven{};

  std::optional<WalStreams> take_apart(ByteView piece) {
    if (!check) return encoder.encode(piece, WalSums::Verify);
    // Where a checksum is wrong, which happens where WAL ends and hardly anywhere else, the check finds it, and the second attempt
    // stops before it. That is cheaper than to sum every record twice.
    for (const auto sums : {WalSums::Trust, WalSums::Verify}) {
      auto streams = encoder.encode(piece, sums);
      if (!streams || check(*streams, piece)) return streams;
    }
    log_error("the WAL codec did not reproduce a piece of WAL, which is stored without it; please report this");
    return std::nullopt;
  }

  ImageForm put_images(ByteView images, RecordTail& out, std::size_t& stored) {
    if (!pages) pages.emplace(make_compressor(codec, level), check ? decode_and_compare() : GroupCheck());
    if (const auto room = out.rest(); !room.empty()) {
      stored = pages->write(images, room);
      out.advance(stored);
    }
    if (stored != 0) return ImageForm::PageRecord;
    stored = out.put_compressed(compressor, images);
    if (stored != 0) return ImageForm::Compressed;
    stored = images.size();
    return ImageForm::Plain;
  }
};

WalPieceWriter::WalPieceWriter(BlockCodec codec, int level, WalCheck check)
    : state_(new State{codec, level, make_compressor(codec, level), std::nullopt, std::move(check)}) {}
WalPieceWriter::WalPieceWriter(WalPieceWriter&&) noexcept = default;
WalPieceWriter::~WalPieceWriter() = default;
const WalChain& WalPieceWriter::proven() const { return state_->proven; }

std::size_t WalPieceWriter::write(ByteView piece, MutableByteView out) {
  const auto streams = state_->take_apart(piece);
  state_->proven = streams ? streams->records : WalChain{};
  if (!streams) return 0;
  RecordTail tail(out);
  Header header{streams->control.size(), 0, streams->raw.size(), streams->remainder.size(), 0, streams->images.size() / kPageSize, 0};
  const auto place = tail.reserve(kHeaderSize);
  tail.put(streams->raw);
  header.control_stored = tail.put_compressed(state_->compressor, streams->control);
  header.remainder_stored = tail.put_compressed(state_->compressor, streams->remainder);
  auto form = ImageForm::PageRecord;
  if (!streams->images.empty()) form = state_->put_images(streams->images, tail, header.images_stored);
  if (!tail.fits() || tail.size() >= piece.size()) return 0;
  write_sizes(place, {header.control, header.control_stored, header.raw, header.remainder, header.remainder_stored, header.images,
                      header.images_stored});
  place.back() = static_cast<std::byte>(form);
  return tail.size();
}

struct WalPieceReader::State {
  BlockDecompressor decompressor;
  std::optional<PageRecordReader> pages;  // made by the first piece that has images
  WalDecoder decoder;
  Bytes control, remainder, images;

  static Result<Header> read_header(ByteView bytes, std::size_t piece_size, BinaryReader& in) {
    const auto size = [&](std::size_t i) { return read_size(bytes, i); };
    const Header header{size(0), size(1), size(2), size(3), size(4), size(5), size(6)};
    if (header.control > kWalControlMax || header.control_stored > header.control || header.raw > 4 * kWalWordsMax ||
        header.remainder > piece_size || header.remainder_stored > header.remainder || header.images > kWalImagesMax ||
        (header.images == 0) != (header.images_stored == 0))
      return in.corrupt("impossible stream sizes");
    return header;
  }

  Result<ByteView> read_images(BinaryReader& in, BlockCodec codec, const Header& header, std::uint8_t form) {
    if (header.images == 0) return form == 0 ? Result<ByteView>(ByteView()) : in.corrupt("images that it has not");
    const auto stored = TRY(in.raw(header.images_stored));
    const std::size_t size = header.images * kPageSize;
    if (form == static_cast<std::uint8_t>(ImageForm::Plain))
      return stored.size() == size ? Result<ByteView>(stored) : in.corrupt("impossible size of its images");
    if (images.size() < size) images.resize(size);
    const auto out = MutableByteView(images).first(size);
    if (form == static_cast<std::uint8_t>(ImageForm::PageRecord)) {
      if (!pages) pages.emplace();
      TRY(pages->read(codec, stored, out));
    } else if (form == static_cast<std::uint8_t>(ImageForm::Compressed)) {
      TRY(decompressor.decompress(codec, stored, out));
    } else {
      return in.corrupt("images in an unknown form");
    }
    return ByteView(out);
  }
};

WalPieceReader::WalPieceReader() : state_(std::make_unique<State>()) {}
WalPieceReader::WalPieceReader(WalPieceReader&&) noexcept = default;
WalPieceReader::~WalPieceReader() = default;

Status WalPieceReader::read(BlockCodec codec, ByteView stored, MutableByteView out) {
  State& s = *state_;
  BinaryReader in(stored, "WAL piece");
  if (out.empty() || out.size() > kWalPieceMax) return in.corrupt("an impossible length");
  const auto bytes = TRY(in.raw(kHeaderSize));
  const auto header = TRY(State::read_header(bytes, out.size(), in));
  const auto raw = TRY(in.raw(header.raw));
  const auto control = TRY(unpack(s.decompressor, in, codec, header.control_stored, header.control, s.control));
  const auto remainder = TRY(unpack(s.decompressor, in, codec, header.remainder_stored, header.remainder, s.remainder));
  const auto images = TRY(s.read_images(in, codec, header, std::to_integer<std::uint8_t>(bytes.back())));
  TRY(in.expect_end());
  return s.decoder.decode(control, raw, remainder, images, out);
}

}  // namespace pgmint::codec
