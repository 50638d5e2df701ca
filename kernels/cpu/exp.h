// exp in fp32, one sequence of operations for every instruction set (kernels/NUMERICS.md).
#pragma once

namespace pagoda::cpu {

// exp(x), relative error below 2e-7. 0 for x < -86.5, infinity from 88.73 on, NaN for NaN.
template <class S>
[[gnu::always_inline]] inline typename S::F Exp(typename S::F x) {
  using F = typename S::F;
  const F low = S::Set1(-86.5f);
  const F clamped = S::Min(S::Set1(89.0f), x);  // this order keeps a NaN

  // x = n ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer, ties to even.
  const F magic = S::Set1(0x1.8p23f);
  const F shifted = S::Add(S::Mul(clamped, S::Set1(0x1.715476p+0f)), magic);
  const F n = S::Sub(shifted, magic);
  F r = S::Fma(n, S::Set1(-0x1.628p-1f), clamped);
  r = S::Fma(n, S::Set1(-0x1.90bfbep-11f), r);

  // exp(r) = 1 + r + r^2 q(r)
  F q = S::Set1(0x1.6d1146p-10f);
  q = S::Fma(q, r, S::Set1(0x1.120bacp-7f));
  q = S::Fma(q, r, S::Set1(0x1.55551ap-5f));
  q = S::Fma(q, r, S::Set1(0x1.5554dcp-3f));
  q = S::Fma(q, r, S::Set1(0x1p-1f));
  q = S::Fma(S::Mul(r, r), q, r);
  q = S::Add(q, S::Set1(1.0f));

  // 2^n in two factors, because 2^128 is no float.
  const F half = S::Mul(q, S::Exp2Half(shifted));
  return S::Select(S::Less(x, low), S::Zero(), S::Add(half, half));
}

}  // namespace pagoda::cpu
