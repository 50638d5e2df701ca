// Flushing denormals (FTZ and DAZ of x86's MXCSR), a per-thread mode that the numeric contract asks
// for wherever a kernel runs. Other code of the thread must not feel it, hence the scope.
#pragma once

#include <xmmintrin.h>

namespace pagoda::cpu {

class ScopedFlushDenormals {
 public:
  ScopedFlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | kFtz | kDaz); }
  ~ScopedFlushDenormals() { _mm_setcsr(saved_); }
  ScopedFlushDenormals(const ScopedFlushDenormals&) = delete;
  ScopedFlushDenormals& operator=(const ScopedFlushDenormals&) = delete;

 private:
  static constexpr unsigned kFtz = 0x8000;
  static constexpr unsigned kDaz = 0x0040;

  const unsigned saved_;
};

}  // namespace pagoda::cpu
