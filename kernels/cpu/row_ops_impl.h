// The row operations over a vector type S; included by exactly the files row_ops_<isa>.cc.
#pragma once

#include <cstdint>

#include "kernels/cpu/row_ops.h"
#include "kernels/cpu/simd_io.h"

namespace pagoda::cpu {

template <class S, class T>
void AddNormRow(const AddNormArgs& args) {
  using F = typename S::F;
  F squares = S::Zero();
  for (int64_t i = 0; i < args.size; i += S::kLanes) {
    const int64_t left = args.size - i;
    F x = LoadAs<S>(args.residual + i, left);
    if (args.delta != nullptr) {
      x = S::Add(x, LoadAs<S>(args.delta + i, left));
      StoreAs<S>(args.residual + i, x, left);
    }
    squares = S::Fma(x, x, squares);
  }
  const float mean = S::ReduceAdd(squares) / static_cast<float>(args.size);
  const F scale = S::Set1(1.0f / __builtin_sqrtf(mean + args.epsilon));
  T* out = static_cast<T*>(args.out);
  for (int64_t i = 0; i < args.size; i += S::kLanes) {
    const int64_t left = args.size - i;
    const F x = S::Mul(LoadAs<S>(args.residual + i, left), scale);
    StoreAs<S>(out + i, S::Mul(x, LoadAs<S>(args.weight + i, left)), left);
  }
}

template <class S, class T>
void RopeHeads(const RopeArgs& args) {
  using F = typename S::F;
  T* out = static_cast<T*>(args.out);
  const float* in = args.in;
  for (int64_t h = 0; h < args.heads; ++h, in += args.head_dim, out += args.head_dim) {
    for (int64_t d = 0; d < args.pairs; d += S::kLanes) {
      const int64_t left = args.pairs - d;
      const F x1 = LoadAs<S>(in + d, left);
      const F x2 = LoadAs<S>(in + args.pairs + d, left);
      const F cos = LoadAs<S>(args.cos + d, left);
      const F sin = LoadAs<S>(args.sin + d, left);
      StoreAs<S>(out + d, S::Fma(x2, S::Sub(S::Zero(), sin), S::Mul(x1, cos)), left);
      StoreAs<S>(out + args.pairs + d, S::Fma(x1, sin, S::Mul(x2, cos)), left);
    }
    for (int64_t d = 2 * args.pairs; d < args.head_dim; d += S::kLanes) {
      const int64_t left = args.head_dim - d;
      StoreAs<S>(out + d, LoadAs<S>(in + d, left), left);
    }
  }
}

template <class S>
void AddNorm(const AddNormArgs& args) {
  if (args.dtype == DType::kF32) {
    AddNormRow<S, float>(args);
  } else {
    AddNormRow<S, uint16_t>(args);
  }
}

template <class S>
void Rope(const RopeArgs& args) {
  if (args.dtype == DType::kF32) {
    RopeHeads<S, float>(args);
  } else {
    RopeHeads<S, uint16_t>(args);
  }
}

}  // namespace pagoda::cpu
