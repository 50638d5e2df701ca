#include "kernels/cuda/device_math.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/tile.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kStages = 3;
constexpr int kSteps = kLinearDepth / 16;  // mma of a stage
constexpr int kLevels = 3;                 // of the tree over 8 slices, its root not counted

static_assert(kLinearColumns == kWarps * 16);

// kRowTiles: rows of a CTA's tile / 16. It changes which CTA computes an output, never how.
template <int kRowTiles>
struct Stages {
  Tile<16 * kRowTiles, kLinearDepth> x[kStages];
  Tile<kLinearColumns, kLinearDepth> w[kStages];
};

// Adds the sums of slices by the binary tree, one after another, as a binary counter does: after
// slice s pending[l] holds the sum of 2^l slices wherever bit l of s + 1 is set. After the last one
// `sum` is the whole, else zero.
template <int kFragments>
__device__ __forceinline__ void AddSlice(float (&pending)[kLevels][kFragments][4],
                                         float (&sum)[kFragments][4],
                                         int slice,
                                         int slices) {
#pragma unroll
  for (int i = 0; i < 4 * kFragments; ++i) {
    float carry = sum[i / 4][i % 4];
    bool carries = true;
#pragma unroll
    for (int level = 0; level < kLevels; ++level) {
      float& there = pending[level][i / 4][i % 4];
      const bool is_set = slice >> level & 1;
      if (carries && is_set) carry = __fadd_rn(there, carry);
      if (carries && !is_set) there = carry;
      carries = carries && is_set;
    }
    sum[i / 4][i % 4] = slice == slices - 1 ? carry : 0;
  }
}

// Starts the copies of stage `stage` of the whole K, slice after slice.
template <int kRowTiles>
__device__ __forceinline__ void LoadStage(const LinearArgs& args,
                                          Stages<kRowTiles>& shared,
                                          int stage) {
  constexpr int kChunks = kLinearDepth / kChunk;
  const PackedLinear& weight = args.weight;
  const int stages_of_slice = weight.depth / kLinearDepth;
  const int slice = stage / stages_of_slice;
  const int k = stage % stages_of_slice * kLinearDepth;  // within the slice
  const int thread = static_cast<int>(threadIdx.x);
  const auto* const x = static_cast<const uint16_t*>(args.x) + int64_t{slice} * weight.slice;
  auto& x_tile = shared.x[stage % kStages];
  auto& w_tile = shared.w[stage % kStages];
  for (int i = thread; i < 16 * kRowTiles * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks, at = k + chunk * kChunk;
    const int y_row = static_cast<int>(blockIdx.y) * 16 * kRowTiles + row;
    const int left = y_row < args.rows ? weight.slice - at : 0;
    const int bytes = left <= 0 ? 0 : left >= kChunk ? 16 : 2 * left;
    const int64_t x_row = bytes == 0 ? 0 : args.x_row == nullptr ? y_row : args.x_row[y_row];
    const auto* const from = bytes == 0 ? x : x + x_row * args.x_stride + at;
    CopyAsync16(x_tile.At(row, chunk), from, bytes);
  }
  const auto* const w = static_cast<const uint16_t*>(weight.data) +
                        (static_cast<size_t>(slice) * weight.columns +
                         static_cast<size_t>(blockIdx.x) * kLinearColumns) *
                            weight.depth +
                        k;
  for (int i = thread; i < kLinearColumns * kChunks; i += kThreads) {
    const int column = i / kChunks, chunk = i % kChunks;
    CopyAsync16(w_tile.At(column, chunk),
                w + static_cast<size_t>(column) * weight.depth + int64_t{chunk} * kChunk);
  }
}

// sum[2 tile + n] as mma's d: 16 rows of the tile, of the warp's 16 columns n chooses the eight.
template <int kRowTiles>
__device__ __forceinline__ void MultiplyStage(Stages<kRowTiles>& shared,
                                              int stage,
                                              int warp,
                                              int lane,
                                              float (&sum)[2 * kRowTiles][4]) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    uint32_t b[2][2];
    shared.w[stage % kStages].LoadB(b, lane, warp * 16, step * 16);
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      uint32_t a[4];
      shared.x[stage % kStages].LoadA(a, lane, tile * 16, step * 16);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        MmaBf16(sum[2 * tile + n], a, b[n]);
      }
    }
  }
}

template <int kRowTiles>
__device__ __forceinline__ void Store(const LinearArgs& args,
                                      const float (&sum)[2 * kRowTiles][4],
                                      int warp,
                                      int lane) {
  const PackedLinear& weight = args.weight;
  const bool fused = weight.epilogue == Epilogue::kSiluMul;
  const int first = static_cast<int>(blockIdx.x) * kLinearColumns + warp * 16;  // packed column
  const int first_row = static_cast<int>(blockIdx.y) * 16 * kRowTiles;
#pragma unroll
  for (int i = 0; i < kRowTiles * 8; ++i) {
    const int row = first_row + i / 8 * 16 + i / 2 % 2 * 8 + lane / 4;
    const int column = i / 4 % 2 * 8 + lane % 4 * 2 + i % 2;
    float value = sum[i / 4][i % 4];
    if (weight.bias != nullptr) value = __fadd_rn(value, weight.bias[first + column]);
    if (!fused) {
      if (row < args.rows && first + column < weight.out) {
        static_cast<float*>(args.y)[row * args.y_stride + first + column] = value;
      }
    } else if (i / 4 % 2 == 0) {  // gate; up of the same output is four values on
      float up = sum[i / 4 + 1][i % 4];
      if (weight.bias != nullptr) up = __fadd_rn(up, weight.bias[first + column + 8]);
      const int out = first / 2 + column;
      if (row < args.rows && out < weight.out) {
        static_cast<uint16_t*>(args.y)[row * args.y_stride + out] = F32ToBf16(SiluMul(value, up));
      }
    }
  }
}

// Grid (columns / 64, rows / (16 kRowTiles)).
template <int kRowTiles>
__global__ void __launch_bounds__(kThreads) LinearBf16(__grid_constant__ const LinearArgs args) {
  auto& shared = SharedMemory<Stages<kRowTiles>>();
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int stages_of_slice = args.weight.depth / kLinearDepth;
  const int stages = args.weight.slices * stages_of_slice;
  float pending[kLevels][2 * kRowTiles][4];
  float sum[2 * kRowTiles][4] = {};
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (stage < stages) LoadStage(args, shared, stage);
    CopyAsyncCommit();
  }
  for (int stage = 0; stage < stages; ++stage) {
    CopyAsyncWait<kStages - 2>();
    __syncthreads();  // the stage is there, and all have done with the one before it
    if (stage + kStages - 1 < stages) LoadStage(args, shared, stage + kStages - 1);
    CopyAsyncCommit();
    MultiplyStage(shared, stage, warp, lane, sum);
    if ((stage + 1) % stages_of_slice == 0) {
      AddSlice(pending, sum, stage / stages_of_slice, args.weight.slices);
    }
  }
  Store<kRowTiles>(args, sum, warp, lane);
}

constexpr int kF32Rows = 4;

// One thread per packed column, kF32Rows rows: grid (columns / 64, rows / kF32Rows), 64 threads.
// The chains are those of the contract, so f32 gives the bits of the CPU backend.
__global__ void __launch_bounds__(kLinearColumns)
    LinearF32(__grid_constant__ const LinearArgs args) {
  const PackedLinear& weight = args.weight;
  const int column = static_cast<int>(blockIdx.x * kLinearColumns + threadIdx.x);
  const int first = static_cast<int>(blockIdx.y) * kF32Rows;
  const float* x[kF32Rows];
  for (int r = 0; r < kF32Rows; ++r) {
    const int row = first + r < args.rows ? first + r : args.rows - 1;
    x[r] = static_cast<const float*>(args.x) +
           (args.x_row == nullptr ? row : args.x_row[row]) * args.x_stride;
  }
  float pending[kLevels][1][kF32Rows];
  float sum[1][kF32Rows] = {};
  const auto* w = static_cast<const float*>(weight.data) + column;
  for (int slice = 0; slice < weight.slices; ++slice) {
    for (int k = 0; k < weight.depth; k += 32) {
      if (k >= weight.slice) {
        w += int64_t{32} * weight.columns;
        continue;
      }
      float chain[2][kF32Rows] = {};
      for (int i = 0; i < 32; ++i, w += weight.columns) {
        for (int r = 0; r < kF32Rows; ++r) {
          const float value = k + i < weight.slice ? x[r][slice * weight.slice + k + i] : 0.0f;
          chain[i % 2][r] = __fmaf_rn(value, *w, chain[i % 2][r]);
        }
      }
      for (int r = 0; r < kF32Rows; ++r) {
        sum[0][r] = __fadd_rn(sum[0][r], __fadd_rn(chain[0][r], chain[1][r]));
      }
    }
    AddSlice(pending, sum, slice, weight.slices);
  }
  for (int r = 0; r < kF32Rows; ++r) {
    float value = sum[0][r];
    if (weight.bias != nullptr) value = __fadd_rn(value, weight.bias[column]);
    float* const y = static_cast<float*>(args.y) + (first + r) * args.y_stride;
    const bool exists = first + r < args.rows;
    if (weight.epilogue == Epilogue::kStore) {
      if (exists && column < weight.out) y[column] = value;
    } else {
      const float up = __shfl_xor_sync(0xffffffff, value, 1);
      if (exists && column % 2 == 0 && column / 2 < weight.out) y[column / 2] = SiluMul(value, up);
    }
  }
}

template <int kRowTiles>
cudaError_t LaunchBf16(const LinearArgs& args, cudaStream_t stream) {
  static_assert(sizeof(Stages<kRowTiles>) <= 48 << 10);
  const int rows = 16 * kRowTiles;
  return Launch({"LinearBf16",
                 dim3(args.weight.columns / kLinearColumns, (args.rows + rows - 1) / rows),
                 kThreads,
                 sizeof(Stages<kRowTiles>),
                 stream},
                LinearBf16<kRowTiles>,
                args);
}

}  // namespace

cudaError_t RunLinear(const LinearArgs& args, cudaStream_t stream) {
  if (args.weight.dtype == DType::kF32) {
    return Launch(
        {"LinearF32",
         dim3(args.weight.columns / kLinearColumns, (args.rows + kF32Rows - 1) / kF32Rows),
         kLinearColumns,
         0,
         stream},
        LinearF32,
        args);
  }
  return args.rows <= 16 ? LaunchBf16<1>(args, stream) : LaunchBf16<4>(args, stream);
}

}  // namespace pagoda::cuda
