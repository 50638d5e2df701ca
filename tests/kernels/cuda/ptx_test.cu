// The instructions, or their twins, against the layouts that CUTLASS 4.2 publishes for them in
// cute/atom/mma_traits_sm80.hpp and copy_traits_sm75.hpp: a source of its own.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"
#include "kernels/dtype.h"
#include "tests/kernels/cuda/device_array.h"

namespace pagoda::cuda {
namespace {

struct Fragments {
  uint32_t a[32][4];
  uint32_t b[32][2];
  float d[32][4];
};

__global__ void Multiply(Fragments* f) {
  const unsigned lane = threadIdx.x;
  MmaBf16(f->d[lane], f->a[lane], f->b[lane]);
}

// MMA_Traits<SM80_16x8x16_F32BF16BF16F32_TN>: thread (t % 4, t / 4) and value to an offset.
//   A: strides (32, 1) and (16, 8, 128) over m + 16 k
//   B: strides (16, 1) and (8, 64) over n + 8 k
//   C: strides (32, 1) and (16, 8) over m + 16 n
int OffsetOfA(int lane, int value) {
  return lane % 4 * 32 + lane / 4 + value % 2 * 16 + value / 2 % 2 * 8 + value / 4 * 128;
}
int OffsetOfB(int lane, int value) {
  return lane % 4 * 16 + lane / 4 + value % 2 * 8 + value / 2 * 64;
}
int OffsetOfC(int lane, int value) {
  return lane % 4 * 32 + lane / 4 + value % 2 * 16 + value / 2 * 8;
}

TEST(Ptx, MmaMultipliesFragmentsAsPublished) {
  std::mt19937 random(1);
  // Small integers: every order of summation gives the same.
  std::vector<float> a(16 * 16), b(16 * 8), c(16 * 8);
  for (auto* matrix : {&a, &b, &c}) {
    for (float& value : *matrix) value = static_cast<float>(static_cast<int>(random() % 33) - 16);
  }
  std::vector<Fragments> host(1);
  for (int lane = 0; lane < 32; ++lane) {
    for (int v = 0; v < 8; ++v) {
      host[0].a[lane][v / 2] |= uint32_t{F32ToBf16(a[OffsetOfA(lane, v)])} << (v % 2 * 16);
    }
    for (int v = 0; v < 4; ++v) {
      host[0].b[lane][v / 2] |= uint32_t{F32ToBf16(b[OffsetOfB(lane, v)])} << (v % 2 * 16);
      host[0].d[lane][v] = c[OffsetOfC(lane, v)];
    }
  }
  const Stream stream = MakeStreamOrDie();
  const DeviceArray<Fragments> device(host, stream);
  ASSERT_CUDA(Launch({"Multiply", 1, 32, 0, stream.get()}, Multiply, device.data()));
  const Fragments result = device.Download()[0];
  for (int lane = 0; lane < 32; ++lane) {
    for (int v = 0; v < 4; ++v) {
      const int m = OffsetOfC(lane, v) % 16, n = OffsetOfC(lane, v) / 16;
      float want = c[m + 16 * n];
      for (int k = 0; k < 16; ++k) want += a[m + 16 * k] * b[n + 8 * k];
      ASSERT_EQ(result.d[lane][v], want) << "lane " << lane << " value " << v;
    }
  }
}

struct Matrices {
  uint16_t elements[4][8][8];
};

struct Loaded {
  uint32_t plain[32][4];
  uint32_t transposed[32][4];
};

__global__ void LoadMatrices(const Matrices* in, Loaded* out) {
  Matrices& shared = SharedMemory<Matrices>();
  const unsigned lane = threadIdx.x;
  auto* row = shared.elements[lane / 8][lane % 8];
  for (int i = 0; i < 8; ++i) row[i] = in->elements[lane / 8][lane % 8][i];
  __syncwarp();
  LoadMatrix4(out->plain[lane], row);
  LoadMatrix4Transposed(out->transposed[lane], row);
}

// Copy_Traits<SM75_U32x4_LDSM_N> and <SM75_U16x8_LDSM_T>: thread and value to a bit.
//   N: stride 32 over the lane; values of 32 bits, stride 1024
//   T: thread (t % 4, t / 4) strides (256, 16); values of 16 bits, strides (128, 1024)
TEST(Ptx, LdmatrixLoadsAsPublished) {
  std::vector<Matrices> in(1);
  auto* elements = &in[0].elements[0][0][0];
  for (int i = 0; i < 256; ++i) elements[i] = static_cast<uint16_t>(i * 257);
  const Stream stream = MakeStreamOrDie();
  const DeviceArray<Matrices> source(in, stream);
  const DeviceArray<Loaded> loaded(std::vector<Loaded>(1), stream);
  ASSERT_CUDA(Launch({"LoadMatrices", 1, 32, sizeof(Matrices), stream.get()},
                     LoadMatrices,
                     source.data(),
                     loaded.data()));
  const Loaded result = loaded.Download()[0];
  for (int lane = 0; lane < 32; ++lane) {
    for (int value = 0; value < 8; ++value) {
      const int plain = lane * 2 + value % 2 + value / 2 * 64;
      const int transposed = lane % 4 * 16 + lane / 4 + value % 2 * 8 + value / 2 * 64;
      const int shift = value % 2 * 16;
      EXPECT_EQ(result.plain[lane][value / 2] >> shift & 0xffff, elements[plain]);
      EXPECT_EQ(result.transposed[lane][value / 2] >> shift & 0xffff, elements[transposed]);
    }
  }
}

struct TwoStages {
  uint4 stage[2][32];
};

// Each lane's 16 bytes of every row through a ring of two, the last ones cut short.
__global__ void CopyThroughRing(const uint4* in, uint4* out, int rows, int last_bytes) {
  TwoStages& shared = SharedMemory<TwoStages>();
  const unsigned lane = threadIdx.x;
  for (int row = 0; row < rows + 1; ++row) {
    if (row < rows) {
      CopyAsync16(&shared.stage[row % 2][lane],
                  in + row * 32 + lane,
                  row == rows - 1 ? last_bytes : 16);
    }
    CopyAsyncCommit();
    if (row == 0) continue;
    CopyAsyncWait<1>();
    __syncthreads();
    out[(row - 1) * 32 + lane] = shared.stage[(row - 1) % 2][31 - lane];
    __syncthreads();
  }
}

TEST(Ptx, AsynchronousCopiesLandBeforeTheirWaitAndFillUpWithZeros) {
  constexpr int kRows = 5, kLastBytes = 6;
  std::vector<uint4> in(kRows * 32);
  for (unsigned i = 0; i < in.size(); ++i) in[i] = make_uint4(i, i * 3, i * 5, i * 7 + 1);
  const Stream stream = MakeStreamOrDie();
  const DeviceArray<uint4> source(in, stream), target(in, stream);
  ASSERT_CUDA(Launch({"CopyThroughRing", 1, 32, sizeof(TwoStages), stream.get()},
                     CopyThroughRing,
                     source.data(),
                     target.data(),
                     kRows,
                     kLastBytes));
  const std::vector<uint4> out = target.Download();
  for (int i = 0; i < kRows * 32; ++i) {
    uint4 want = in[i / 32 * 32 + 31 - i % 32];
    if (i / 32 == kRows - 1) want = make_uint4(want.x, want.y & 0xffff, 0, 0);
    ASSERT_EQ(out[i].x, want.x) << i;
    ASSERT_EQ(out[i].y, want.y) << i;
    ASSERT_EQ(out[i].z, want.z) << i;
    ASSERT_EQ(out[i].w, want.w) << i;
  }
}

}  // namespace
}  // namespace pagoda::cuda
