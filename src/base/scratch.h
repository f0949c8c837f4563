// Large memory that is kept from use to use and never zeroed by us.
#pragma once

#include <cstddef>

#include "base/bytes.h"

namespace pgmint {

/// Grows and never shrinks; contents do not survive growth. Large ones ask for huge pages: 16 MiB in pages of 4 KiB are 4096
/// page faults, which cost more than reading the file. Not thread-safe.
class Scratch {
 public:
  Scratch() = default;
  Scratch(Scratch&& other) noexcept;
  Scratch& operator=(Scratch&& other) noexcept;
  ~Scratch();

  /// `size` bytes of undefined content, valid until the next call.
  MutableByteView of(std::size_t size);
  /// Gives the memory back.
  void release();

 private:
  std::byte* bytes_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace pgmint
