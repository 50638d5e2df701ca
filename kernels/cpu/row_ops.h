// Operations on one row of activations: RMSNorm with the residual add before it, and RoPE
// (kernels/NUMERICS.md, "Embedding, norm, RoPE").
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace pagoda::cpu {

struct AddNormArgs {
  float* residual;      // [size], gains `delta`
  const float* delta;   // [size], or null
  const float* weight;  // [size]
  int64_t size;
  float epsilon;
  void* out;  // [size] of `dtype`
  DType dtype;
};

// Rotates `heads` heads and rounds them. pairs == 0 only rounds.
struct RopeArgs {
  const float* in;   // [heads][head_dim]
  const float* cos;  // [pairs]
  const float* sin;  // [pairs]
  int64_t pairs;     // dimension d turns with d + pairs; 2 * pairs <= head_dim
  int64_t heads;
  int64_t head_dim;
  void* out;  // [heads][head_dim] of `dtype`
  DType dtype;
};

// REQUIRES: denormals flushed on this thread.
using AddNormFn = void (*)(const AddNormArgs& args);
using RopeFn = void (*)(const RopeArgs& args);

void AddNormScalar(const AddNormArgs& args);
void AddNormAvx2(const AddNormArgs& args);
void AddNormAvx512(const AddNormArgs& args);
void RopeScalar(const RopeArgs& args);
void RopeAvx2(const RopeArgs& args);
void RopeAvx512(const RopeArgs& args);

}  // namespace pagoda::cpu
