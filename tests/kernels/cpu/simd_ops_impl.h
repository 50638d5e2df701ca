// SimdOps over a vector type; included by exactly the files simd_ops_<isa>.cc.
#pragma once

#include "kernels/cpu/exp.h"
#include "kernels/cpu/simd_io.h"
#include "tests/kernels/cpu/simd_ops.h"

namespace pagoda::cpu {

template <class S>
struct SimdOpsOf {
  static typename S::F InLane0(float value) {
    return S::Select(S::FirstN(1), S::Set1(value), S::Zero());
  }

  static typename S::F Apply(SimdOp op, const float* pa, const float* pb, const float* pc, int n) {
    const typename S::F a = S::Load(pa), b = S::Load(pb), c = S::Load(pc);
    switch (op) {
      case SimdOp::kAdd:
        return S::Add(a, b);
      case SimdOp::kSub:
        return S::Sub(a, b);
      case SimdOp::kMul:
        return S::Mul(a, b);
      case SimdOp::kDiv:
        return S::Div(a, b);
      case SimdOp::kFma:
        return S::Fma(a, b, c);
      case SimdOp::kMax:
        return S::Max(a, b);
      case SimdOp::kMin:
        return S::Min(a, b);
      case SimdOp::kSelectLess:
        return S::Select(S::Less(a, b), b, c);
      case SimdOp::kReduceAdd:
        return InLane0(S::ReduceAdd(a));
      case SimdOp::kReduceMax:
        return InLane0(S::ReduceMax(a));
      case SimdOp::kExp:
        return Exp<S>(a);
      case SimdOp::kLoadN:
        return S::LoadN(pa, n);
      case SimdOp::kSelectFirst:
        return S::Select(S::FirstN(n), a, b);
      case SimdOp::kLessBits:
        return InLane0(static_cast<float>(S::Bits(S::Less(a, b))));
    }
    return S::Zero();
  }

  static void Run(SimdOp op, const float* a, const float* b, const float* c, int n, float* out) {
    S::Store(out, Apply(op, a, b, c, n));
  }
  static void LoadBf16(const uint16_t* in, int n, float* out) { S::Store(out, LoadAs<S>(in, n)); }
  static void StoreBf16(const float* in, int n, uint16_t* out) { StoreAs<S>(out, S::Load(in), n); }
  static void Store(const float* in, int n, float* out) { StoreAs<S>(out, S::Load(in), n); }
  template <class T>
  static void LoadPairs(const T* in, float* even, float* odd) {
    typename S::F e, o;
    S::LoadPairs(in, &e, &o);
    S::Store(even, e);
    S::Store(odd, o);
  }

  static constexpr SimdOps kOps =
      {Run, LoadBf16, StoreBf16, Store, LoadPairs<uint16_t>, LoadPairs<float>};
};

}  // namespace pagoda::cpu
