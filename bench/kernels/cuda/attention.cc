#include "kernels/cuda/attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/kernels/cuda/cases.h"
#include "common/status.h"
#include "kernels/cuda/status.h"
#include "kernels/kv_layout.h"

namespace pagoda::bench {
namespace {

using cuda::DeviceBuffer;

// As the CUDA backend's.
constexpr int32_t kSlots = 4096, kCtasPerMultiprocessor = 4;
constexpr int32_t kBlockSize = 16, kLargeBlockSize = 128, kHeadDim = 128;

// `batch` sequences alike: the last `rows` of `context` tokens are computed.
struct Shape {
  int32_t batch, context, rows;
};

struct Heads {
  int32_t query, kv;
};

// One layer over a pool in blocks of block_size tokens, in random or in rising order. The pool's
// values are random whatever the blocks.
class Attention {
 public:
  absl::Status Make(Meter& meter,
                    const Heads& heads,
                    const Shape& shape,
                    int32_t block_size,
                    bool is_shuffled,
                    std::byte* pool) {
    const KvLayout layout = {1, heads.kv, kHeadDim, block_size, DType::kBf16};
    args_.shape = {heads.query,
                   heads.kv,
                   kHeadDim,
                   block_size,
                   1 / std::sqrt(static_cast<float>(kHeadDim)),
                   DType::kBf16};
    args_.kv = pool;
    args_.head_bytes = layout.TileBytes();
    args_.v_bytes = layout.VTileOffset(0, 0);
    args_.block_bytes = layout.BlockBytes();
    const int32_t blocks = shape.context / block_size;  // of a sequence
    std::vector<int32_t> ids(size_t{1} * shape.batch * blocks);
    std::iota(ids.begin(), ids.end(), 0);
    if (is_shuffled) std::shuffle(ids.begin(), ids.end(), std::mt19937(7));
    std::vector<StepSequence> sequences;
    sequences.reserve(shape.batch);
    for (int32_t i = 0; i < shape.batch; ++i) {
      sequences.push_back({i * blocks, shape.context - shape.rows, i * shape.rows, shape.rows, 0});
    }
    cuda::PlanAttention(args_.shape, sequences, kSlots, &plan_);
    return Allocate(meter, ids, sequences, shape.batch * shape.rows);
  }

  absl::Status Run(cudaStream_t stream) const {
    return cuda::ToStatus(RunAttention(args_, plan_.rounds, stream), "attention");
  }

 private:
  absl::Status Allocate(Meter& meter,
                        const std::vector<int32_t>& ids,
                        const std::vector<StepSequence>& sequences,
                        int32_t rows) {
    const int64_t width = int64_t{args_.shape.num_heads} * kHeadDim;
    const size_t slot_bytes = cuda::AttentionSlotFloats(kHeadDim) * sizeof(float);
    ASSIGN_OR_RETURN(tables_, meter.Upload(ids));
    ASSIGN_OR_RETURN(sequences_, meter.Upload(sequences));
    ASSIGN_OR_RETURN(folds_, meter.Upload(plan_.folds));
    ASSIGN_OR_RETURN(q_, meter.RandomBf16(rows * width));
    ASSIGN_OR_RETURN(out_, DeviceBuffer::Make(q_.bytes()));
    ASSIGN_OR_RETURN(workspace_, DeviceBuffer::Make(kSlots * slot_bytes));
    ASSIGN_OR_RETURN(carry_, DeviceBuffer::Make(2 * slot_bytes));
    args_.sequences = sequences_.data<StepSequence>();
    args_.tables = tables_.data<int32_t>();
    args_.folds = folds_.data<cuda::AttentionFold>();
    args_.q = q_.data();
    args_.q_stride = width;
    args_.out = out_.data();
    args_.out_stride = width;
    args_.workspace = workspace_.data<float>();
    args_.carry = carry_.data<float>();
    args_.max_ctas = meter.multiprocessors() * kCtasPerMultiprocessor;
    return absl::OkStatus();
  }

  cuda::AttentionArgs args_;
  cuda::AttentionPlan plan_;
  DeviceBuffer tables_, sequences_, folds_, q_, out_, workspace_, carry_;
};

// Decode by bytes of KV, prefill by FLOPs below the diagonal.
Work WorkOf(const Heads& heads, const Shape& shape) {
  if (shape.rows == 1) {
    const KvLayout token = {1, heads.kv, kHeadDim, 1, DType::kBf16};
    const double tokens = double{1} * shape.batch * shape.context;
    return {"decode attention", Limit::kCopy, tokens * static_cast<double>(token.BlockBytes())};
  }
  double seen = 0;  // positions, by all rows of a sequence
  for (int32_t i = 0; i < shape.rows; ++i) seen += shape.context - i;
  return {"prefill attention", Limit::kGemm, 4.0 * kHeadDim * heads.query * shape.batch * seen};
}

absl::Status MeasureShape(Meter& meter, const Heads& heads, const Shape& shape) {
  const size_t values = size_t{2} * shape.batch * shape.context * heads.kv * kHeadDim;
  ASSIGN_OR_RETURN(const DeviceBuffer pool, meter.RandomBf16(values));
  struct Way {
    const char* name;
    int32_t block_size;
    bool is_shuffled;
  };
  const Way ways[] = {{"contiguous", shape.context, false},
                      {"blocks of 16", kBlockSize, true},
                      {"blocks of 16 in order", kBlockSize, false},
                      {"blocks of 128", kLargeBlockSize, true}};
  std::vector<Attention> attentions(std::size(ways));
  std::vector<Case> cases;
  for (size_t i = 0; i < attentions.size(); ++i) {
    RETURN_IF_ERROR(attentions[i].Make(meter,
                                       heads,
                                       shape,
                                       ways[i].block_size,
                                       ways[i].is_shuffled,
                                       pool.data<std::byte>()));
    cases.push_back(
        {absl::StrCat(shape.batch, " x ", shape.rows, " of ", shape.context, ", ", ways[i].name),
         [&meter, attention = &attentions[i]] { return attention->Run(meter.stream()); }});
  }
  return meter.Measure(WorkOf(heads, shape), cases);
}

}  // namespace

absl::Status MeasureAttention(Meter& meter) {
  RETURN_IF_ERROR(cuda::ToStatus(cuda::PrepareAttention(), "preparing attention"));
  const Heads heads = meter.quick() ? Heads{4, 1} : Heads{32, 8};
  // The first two decode from 512 MiB of KV.
  std::vector<Shape> shapes = {{64, 2048, 1},
                               {8, 16384, 1},
                               {1, 4096, 1},
                               {1, 8192, 8192},
                               {4, 8192, 512}};
  if (meter.quick()) shapes = {{2, 256, 1}, {1, 128, 20}};
  for (const Shape& shape : shapes) RETURN_IF_ERROR(MeasureShape(meter, heads, shape));
  return absl::OkStatus();
}

}  // namespace pagoda::bench
