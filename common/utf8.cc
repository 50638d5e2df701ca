#include "common/utf8.h"

#include <cstdint>

namespace pagoda {
namespace {

// The well-formed second bytes depend on the first: Unicode 15, table 3-7.
bool SecondByteFits(uint8_t first, uint8_t second) {
  switch (first) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return second >= 0x80 && second <= 0xBF;
  }
}

size_t LengthByFirstByte(uint8_t first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return 2;
  if (first >= 0xE0 && first <= 0xEF) return 3;
  if (first >= 0xF0 && first <= 0xF4) return 4;
  return 0;
}

}  // namespace

size_t Utf8CharLength(absl::string_view text) {
  if (text.empty()) return 0;
  const uint8_t first = static_cast<uint8_t>(text[0]);
  const size_t length = LengthByFirstByte(first);
  if (length <= 1) return length;
  if (text.size() < length || !SecondByteFits(first, static_cast<uint8_t>(text[1]))) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((static_cast<uint8_t>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

size_t Utf8ValidPrefix(absl::string_view text) {
  size_t valid = 0;
  while (const size_t length = Utf8CharLength(text.substr(valid))) valid += length;
  return valid;
}

}  // namespace pagoda
