#include "codec/compression.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "codec/page_record.h"
#include "codec/wal_piece.h"

namespace pgmint::codec {
namespace {

/// A few percent smaller than level 1 behind the transform, at about 0.4 of its speed; 9 and 12 are slower and no smaller, 16 is 7 to 19 % smaller
/// at 5 to 45 MB/s (docs/performance.md).
constexpr int kSmallLevel = 5;

/// The level in "NAME:LEVEL".
std::optional<int> level_after(std::string_view text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return std::nullopt;
  const std::string_view number = text.substr(prefix.size());
  int level = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), level);
  if (error != std::errc{} || end != number.data() + number.size() || level < 1 || level > kZstdLevelMax) return std::nullopt;
  return level;
}

Error bad_codec(std::string_view text) {
  return Error(Errc::Configuration, fmt::format("compression \"{}\" is not known", text),
               Hint{fmt::format("use \"balanced\", \"fast\", \"small\" (\"small:1\" to \"small:{0}\"), \"none\"; or a plain codec: \"zstd:1\" to \"zstd:{0}\", \"lz4\"", kZstdLevelMax)});
}

}  // namespace

Result<CodecChoice> parse_codec(std::string_view text) {
  if (text == "balanced") return CodecChoice{CodecId::PageZstd, 1};
  if (text == "fast") return CodecChoice{CodecId::PageLz4, 0};
  if (text == "small") return CodecChoice{CodecId::PageZstd, kSmallLevel};
  if (text == "none") return CodecChoice{CodecId::None, 0};
  if (text == "lz4") return CodecChoice{CodecId::Lz4, 0};
  if (text == "zstd") return CodecChoice{CodecId::Zstd, 1};
  if (const auto level = level_after(text, "small:")) return CodecChoice{CodecId::PageZstd, *level};
  if (const auto level = level_after(text, "zstd:")) return CodecChoice{CodecId::Zstd, *level};
  return bad_codec(text);
}

CodecChoice plain_codec(CodecChoice choice) {
  if (choice.id == CodecId::PageZstd || choice.id == CodecId::WalZstd) choice.id = CodecId::Zstd;
  if (choice.id == CodecId::PageLz4 || choice.id == CodecId::WalLz4) choice.id = CodecId::Lz4;
  return choice;
}

CodecChoice wal_codec(CodecChoice choice) {
  if (choice.id == CodecId::PageZstd) {
    choice.id = CodecId::WalZstd;
    if (choice.level <= kSmallLevel) choice.level = 1;  // between them a level costs time and gains nothing
  }
  if (choice.id == CodecId::PageLz4) choice.id = choice.trusted ? CodecId::WalLz4 : CodecId::Lz4;
  return choice;
}

struct Compressor::State {
  CodecChoice choice, plain;
  std::optional<PageRecordWriter> pages{};
  std::optional<WalPieceWriter> wal{};
  std::optional<BlockCompressor> block{};
};

Compressor::Compressor(CodecChoice choice) : state_(new State{choice, plain_codec(choice)}) {
  if (choice.id == CodecId::None) return;
  const auto block = state_->plain.id == CodecId::Lz4 ? BlockCodec::Lz4 : BlockCodec::Zstd;
  state_->block.emplace(block, choice.level);
  if (choice.id == CodecId::PageZstd || choice.id == CodecId::PageLz4)
    state_->pages.emplace(block, choice.level, choice.trusted ? GroupCheck() : decode_and_compare());
  if (choice.id == CodecId::WalZstd || choice.id == CodecId::WalLz4)
    state_->wal.emplace(block, choice.level, choice.trusted ? WalCheck() : decode_and_compare_wal());
}
Compressor::Compressor(Compressor&&) noexcept = default;
Compressor::~Compressor() = default;

std::size_t Compressor::bound(std::size_t plain_size) { return BlockCompressor::bound(plain_size); }

Compressor::Output Compressor::compress(ByteView plain, MutableByteView out) {
  constexpr Output kStorePlain{CodecId::None, 0};
  if (!state_->block || plain.empty()) return kStorePlain;
  PGMINT_ASSERT(out.size() >= bound(plain.size()));
  if (state_->pages) {
    if (const auto size = state_->pages->write(plain, out); size != 0) return {state_->choice.id, size};
  }
  if (state_->wal) {
    if (const auto size = state_->wal->write(plain, out); size != 0) return {state_->choice.id, size, state_->wal->proven()};
  }
  const auto size = state_->block->compress(plain, out);
  return size == 0 ? kStorePlain : Output{state_->plain.id, size};
}

struct Decompressor::State {
  BlockDecompressor blocks;
  std::optional<PageRecordReader> pages;  // made by the first record that needs it
  std::optional<WalPieceReader> wal;      // likewise
};

Decompressor::Decompressor() : state_(std::make_unique<State>()) {}
Decompressor::Decompressor(Decompressor&&) noexcept = default;
Decompressor::~Decompressor() = default;

Status Decompressor::decompress(CodecId codec, ByteView stored, MutableByteView out) {
  const auto block = codec == CodecId::Lz4 || codec == CodecId::PageLz4 || codec == CodecId::WalLz4 ? BlockCodec::Lz4 : BlockCodec::Zstd;
  switch (codec) {
    case CodecId::None:
      if (stored.size() != out.size())
        return Error(Errc::Corruption, fmt::format("plain record holds {} bytes instead of {}", stored.size(), out.size()));
      std::ranges::copy(stored, out.begin());
      return ok();
    case CodecId::Zstd:
    case CodecId::Lz4:
      return state_->blocks.decompress(block, stored, out);
    case CodecId::PageZstd:
    case CodecId::PageLz4:
      if (out.empty()) return Error(Errc::Corruption, "compressed record is empty");
      if (!state_->pages) state_->pages.emplace();
      return state_->pages->read(block, stored, out);
    case CodecId::WalZstd:
    case CodecId::WalLz4:
      if (!state_->wal) state_->wal.emplace();
      return state_->wal->read(block, stored, out);
  }
  return Error(Errc::Corruption, fmt::format("compression codec {} is not known", static_cast<int>(codec)),
               Hint{"a newer pgmint may have written it; see `pgmint --version`"});
}

}  // namespace pgmint::codec
