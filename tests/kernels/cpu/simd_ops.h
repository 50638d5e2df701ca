// Each operation of the 16-lane vector, reachable by name, once per instruction set.
#pragma once

#include <cstdint>

namespace pagoda::cpu {

enum class SimdOp {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFma,
  kMax,
  kMin,
  kSelectLess,  // a < b ? b : c
  kReduceAdd,   // in lane 0
  kReduceMax,   // in lane 0
  kExp,
  kLoadN,        // the first `n` of a, zeros behind
  kSelectFirst,  // the first `n` of a, then b
  kLessBits,     // bits of a < b, as a float in lane 0
};
inline constexpr int kNumSimdOps = 14;

struct SimdOps {
  // a, b, c, out: 16 floats.
  void (*run)(SimdOp op, const float* a, const float* b, const float* c, int n, float* out);
  void (*load_bf16)(const uint16_t* in, int n, float* out);
  void (*store_bf16)(const float* in, int n, uint16_t* out);
  void (*store)(const float* in, int n, float* out);
  void (*load_pairs_bf16)(const uint16_t* in, float* even, float* odd);
  void (*load_pairs_f32)(const float* in, float* even, float* odd);
};

extern const SimdOps kSimdOpsScalar, kSimdOpsAvx2, kSimdOpsAvx512;

}  // namespace pagoda::cpu
