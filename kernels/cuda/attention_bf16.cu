// K and V pass through shared memory in runs of 64 positions, the next one on its way while the
// tensor cores work on this one.
#include <algorithm>

#include "kernels/cuda/attention_work.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tile.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = kAttentionThreads;
constexpr int kWarps = kThreads / 32;
constexpr int kRun = 64;  // positions of K or V in shared memory at a time

// kDim: head_dim, padded to 64 with zeros.
template <int kDim>
struct SharedBf16 {
  Tile<kAttentionRows, kDim> q;
  Tile<kRun, kDim> run[2];
  Tile<kAttentionRows, kAttentionChunk> p;
  float scores[kAttentionRows][kAttentionChunk];
  int unusual;  // whether this run of V has an infinity or NaN that some row must not see
};

template <int kDim>
__device__ __forceinline__ void LoadQuery(const AttentionArgs& args,
                                          const Work& work,
                                          SharedBf16<kDim>& shared) {
  for (int i = static_cast<int>(threadIdx.x); i < kAttentionRows * kDim / kChunk; i += kThreads) {
    const int row = i / (kDim / kChunk), chunk = i % (kDim / kChunk);
    const bool exists = row < work.rows && chunk * kChunk < args.shape.head_dim;
    const auto* const q = static_cast<const uint16_t*>(args.q);
    const auto* const from =
        exists ? q + RowOffset(args, work.item, row, args.q_stride) + int64_t{chunk} * kChunk : q;
    CopyAsync16(shared.q.At(row, chunk), from, exists ? 16 : 0);
  }
}

// Positions [64 run, 64 run + 64) of the chunk, K (offset 0) or V (v_bytes). Those that no row sees
// become zeros.
template <int kDim>
__device__ __forceinline__ void LoadRun(const AttentionArgs& args,
                                        const Work& work,
                                        Tile<kRun, kDim>& tile,
                                        int run,
                                        size_t offset) {
  for (int i = static_cast<int>(threadIdx.x); i < kRun * kDim / kChunk; i += kThreads) {
    const int row = i / (kDim / kChunk), chunk = i % (kDim / kChunk), at = run * kRun + row;
    const bool exists = at >= work.begin && at < work.end && chunk * kChunk < args.shape.head_dim;
    const std::byte* const from =
        exists ? KRow(args, work, at) + offset + size_t{16} * chunk : args.kv;
    CopyAsync16(tile.At(row, chunk), from, exists ? 16 : 0);
  }
}

// Scores of a run: a warp takes 16 of its positions.
template <int kDim>
__device__ __forceinline__ void ScoreRun(const AttentionArgs& args,
                                         const Work& work,
                                         SharedBf16<kDim>& shared,
                                         int run) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  float sum[2][4] = {};
#pragma unroll
  for (int k = 0; k < kDim; k += 16) {
    uint32_t a[4], b[2][2];
    shared.q.LoadA(a, lane, 0, k);
    shared.run[run % 2].LoadB(b, lane, warp * 16, k);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      MmaBf16(sum[n], a, b[n]);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int row = lane / 4 + i / 2 % 2 * 8;
    const int at = run * kRun + warp * 16 + i / 4 * 8 + lane % 4 * 2 + i % 2;
    const float score = __fmul_rn(sum[i / 4][i % 4], args.shape.scale);
    shared.scores[row][at] = Sees(work, row, at) ? score : kMasked;
  }
}

// Whether some rows of the tile see position `at` of the chunk and others do not.
__device__ __forceinline__ bool SeenBySome(const Work& work, int at) {
  const int last = work.rows - 1;
  return at >= work.begin && at < work.end && !(Sees(work, 0, at) && Sees(work, last, at));
}

// Whether V of a run holds an infinity or NaN at a position that some rows see and others do not: a
// weight of zero would not keep it from them. All threads get the answer.
template <int kDim>
__device__ __forceinline__ bool IsUnusual(const Work& work, SharedBf16<kDim>& shared, int run) {
  const int from = run * kRun, to = from + kRun;
  const int first_own =
      work.sequence.first_position + work.item.row / work.group - work.item.chunk * kAttentionChunk;
  const int last_own = work.sequence.first_position + (work.item.row + work.rows - 1) / work.group -
                       work.item.chunk * kAttentionChunk;
  const bool at_end = first_own < last_own && first_own < to && last_own >= from;
  const bool at_window = first_own < last_own && work.sequence.window > 0 &&
                         last_own - work.sequence.window >= from &&
                         first_own - work.sequence.window < to;
  if (!at_end && !at_window) return false;
  constexpr uint16_t kExponent = 0x7f80;
  bool found = false;
  for (int i = static_cast<int>(threadIdx.x); i < kRun * kDim; i += kThreads) {
    const int row = i / kDim, d = i % kDim;
    if (!SeenBySome(work, from + row)) continue;
    const uint16_t value = shared.run[run % 2].At(row, d / kChunk)[d % kChunk];
    found = found || (value & kExponent) == kExponent;
  }
  if (found) shared.unusual = 1;
  __syncthreads();  // all have looked
  return shared.unusual != 0;
}

// d += A B for row `row` of A alone, without the rows of B that it does not see.
__device__ __forceinline__ void MmaOneRow(const Work& work,
                                          int row,
                                          int at,
                                          const uint32_t (&a)[4],
                                          const uint32_t (&b)[2],
                                          float (&d)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint32_t seen[2];
  for (int i = 0; i < 2; ++i) {
    const int k = at + i * 8 + lane % 4 * 2;
    seen[i] =
        b[i] & ((Sees(work, row, k) ? 0xffffU : 0U) | (Sees(work, row, k + 1) ? 0xffff0000U : 0U));
  }
  float sum[4] = {d[0], d[1], d[2], d[3]};
  MmaBf16(sum, a, seen);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (lane / 4 + i / 2 * 8 == row) d[i] = sum[i];
  }
}

// ValueRun where V is unusual: the same sums, a row at a time.
template <int kDim>
__device__ __forceinline__ void ValueRunByRow(const Work& work,
                                              SharedBf16<kDim>& shared,
                                              int run,
                                              float (&o)[kDim / 32][4]) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int k = 0; k < kRun; k += 16) {
    uint32_t a[4];
    shared.p.LoadA(a, lane, 0, run * kRun + k);
#pragma unroll
    for (int pair = 0; pair < kDim / 64; ++pair) {
      uint32_t b[2][2];
      shared.run[run % 2].LoadBTransposed(b, lane, k, warp * (kDim / kWarps) + pair * 16);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        for (int row = 0; row < work.rows; ++row) {
          MmaOneRow(work, row, run * kRun + k, a, b[n], o[2 * pair + n]);
        }
      }
    }
  }
}

// o += P V of a run: a warp takes a quarter of the columns.
template <int kDim>
__device__ __forceinline__ void ValueRun(SharedBf16<kDim>& shared,
                                         int run,
                                         float (&o)[kDim / 32][4]) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int k = 0; k < kRun; k += 16) {
    uint32_t a[4];
    shared.p.LoadA(a, lane, 0, run * kRun + k);
#pragma unroll
    for (int pair = 0; pair < kDim / 64; ++pair) {
      uint32_t b[2][2];
      shared.run[run % 2].LoadBTransposed(b, lane, k, warp * (kDim / kWarps) + pair * 16);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        MmaBf16(o[2 * pair + n], a, b[n]);
      }
    }
  }
}

template <int kDim>
__device__ __forceinline__ void StorePartial(const AttentionArgs& args,
                                             const float (&o)[kDim / 32][4],
                                             float* slot) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < kDim / 8; ++i) {
    const int row = lane / 4 + i / 2 % 2 * 8;
    const int d = warp * (kDim / kWarps) + i / 4 * 8 + lane % 4 * 2 + i % 2;
    if (d < args.shape.head_dim) slot[row * args.shape.head_dim + d] = o[i / 4][i % 4];
  }
}

// K in runs of 64 positions, then V, one ahead of the arithmetic.
template <int kDim>
__device__ __forceinline__ void ChunkBf16(const AttentionArgs& args,
                                          const Work& work,
                                          SharedBf16<kDim>& shared,
                                          float* slot) {
  const int first = work.begin / kRun, last = (work.end - 1) / kRun;
  LoadQuery(args, work, shared);
  LoadRun(args, work, shared.run[first % 2], first, 0);
  CopyAsyncCommit();
  for (int i = static_cast<int>(threadIdx.x); i < kAttentionRows * kAttentionChunk; i += kThreads) {
    const int at = i % kAttentionChunk;
    if (at < first * kRun || at >= (last + 1) * kRun) {
      shared.scores[i / kAttentionChunk][at] = kMasked;
    }
  }
  for (int run = first; run <= last; ++run) {
    if (run < last) LoadRun(args, work, shared.run[(run + 1) % 2], run + 1, 0);
    CopyAsyncCommit();
    CopyAsyncWait<1>();
    __syncthreads();  // this run is there
    ScoreRun(args, work, shared, run);
    __syncthreads();  // its memory is free, its scores are there
  }
  LoadRun(args, work, shared.run[first % 2], first, args.v_bytes);
  CopyAsyncCommit();
  float* const m = slot + int64_t{kAttentionRows} * args.shape.head_dim;
  for (int row = static_cast<int>(threadIdx.x) / 16; row < kAttentionRows; row += kThreads / 16) {
    const auto keep = [&](int at, float p) {
      const uint16_t rounded = F32ToBf16(p);
      shared.p.At(row, at / kChunk)[at % kChunk] = rounded;
      return Bf16ToF32(rounded);
    };
    Softmax(shared.scores[row], SeesChunk(work, row), m + row, m + kAttentionRows + row, keep);
  }
  float o[kDim / 32][4] = {};
  for (int run = first; run <= last; ++run) {
    if (run < last) LoadRun(args, work, shared.run[(run + 1) % 2], run + 1, args.v_bytes);
    CopyAsyncCommit();
    if (threadIdx.x == 0) shared.unusual = 0;
    CopyAsyncWait<1>();
    __syncthreads();  // this run is there, and so are the weights
    if (IsUnusual(work, shared, run)) {
      ValueRunByRow(work, shared, run, o);
    } else {
      ValueRun(shared, run, o);
    }
    __syncthreads();  // its memory is free
  }
  StorePartial<kDim>(args, o, slot);
}

// CTAs on a multiprocessor, as far as shared memory allows: without the number ptxas aims higher,
// and spills.
template <int kDim>
__global__ void __launch_bounds__(kThreads, kDim <= 128 ? 4 : 2)
    AttentionBf16(__grid_constant__ const AttentionArgs args, AttentionPlan::Round round) {
  auto& shared = SharedMemory<SharedBf16<kDim>>();
  for (int i = static_cast<int>(blockIdx.x); i < round.items; i += static_cast<int>(gridDim.x)) {
    ChunkBf16(args,
              WorkOf(args, FindItem(args, round, round.first_item + i)),
              shared,
              args.workspace + i * AttentionSlotFloats(args.shape.head_dim));
  }
}

template <int kDim>
cudaError_t LaunchChunks(const AttentionArgs& args,
                         const AttentionPlan::Round& round,
                         cudaStream_t stream) {
  const unsigned ctas = static_cast<unsigned>(std::min(round.items, args.max_ctas));
  return Launch({"AttentionBf16", ctas, kThreads, sizeof(SharedBf16<kDim>), stream},
                AttentionBf16<kDim>,
                args,
                round);
}

}  // namespace

cudaError_t PrepareAttention() {
  for (const cudaError_t error : {AllowShared(AttentionBf16<64>, sizeof(SharedBf16<64>)),
                                  AllowShared(AttentionBf16<128>, sizeof(SharedBf16<128>)),
                                  AllowShared(AttentionBf16<192>, sizeof(SharedBf16<192>)),
                                  AllowShared(AttentionBf16<256>, sizeof(SharedBf16<256>))}) {
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t RunAttentionBf16(const AttentionArgs& args,
                             const AttentionPlan::Round& round,
                             cudaStream_t stream) {
  switch ((args.shape.head_dim + 63) / 64) {
    case 1:
      return LaunchChunks<64>(args, round, stream);
    case 2:
      return LaunchChunks<128>(args, round, stream);
    case 3:
      return LaunchChunks<192>(args, round, stream);
    default:
      return LaunchChunks<256>(args, round, stream);
  }
}

}  // namespace pagoda::cuda
