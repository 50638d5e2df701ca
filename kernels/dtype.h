// Element types and their exact conversions. bf16 and f16 are held as their bits (uint16_t).
// The functions are always inlined: translation units of different instruction sets include this
// header, and none of them may lend its out-of-line copy to the others.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace pagoda {

enum class DType : uint8_t { kF32, kBf16, kF16 };

constexpr size_t DTypeSize(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

constexpr const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kBf16:
      return "bfloat16";
    case DType::kF16:
      return "float16";
  }
  return "unknown";
}

// What a NaN becomes in bf16, whatever its payload was.
inline constexpr uint16_t kBf16NaN = 0x7fc0;

[[gnu::always_inline]] constexpr float Bf16ToF32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Rounds to nearest, ties to even; overflow gives infinity, NaN gives kBf16NaN. Integer arithmetic:
// denormals are not flushed here.
[[gnu::always_inline]] constexpr uint16_t F32ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return kBf16NaN;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Exact, f16 denormals included (they are normal in f32); NaN keeps its payload.
[[gnu::always_inline]] constexpr float F16ToF32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t exponent = (bits >> 10) & 0x1f;
  uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) {
    if (mantissa == 0) return std::bit_cast<float>(sign);
    const int shift = std::countl_zero(mantissa) - 21;  // brings the leading one to bit 10
    mantissa = (mantissa << shift) & 0x3ff;
    exponent = 1 - shift;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

}  // namespace pagoda
