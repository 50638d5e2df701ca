// A device and its kernels, as the worker's runner sees them. Three faces:
//   Load   weights are packed, pools and buffers made. All memory is allocated here; what a device
//          cannot do is refused here with a Status, never in a step.
//   Step   Prepare -> Run(body) -> Sample -> Collect, steps in order; nothing is allocated.
//   Layers LayerOps, which exist only inside `body`.
// One thread uses a backend at a time. kernels/NUMERICS.md says what every operation computes, to
// the bit. A wrong shape or a foreign weight is a bug of the caller (CHECK).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/comm/rendezvous.h"
#include "kernels/kv_layout.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace pagoda {

// How a linear is divided between the ranks of a group.
enum class Partition : uint8_t {
  kColumn,  // outputs are divided: one K-slice
  kRow,  // inputs are divided: S K-slices, a rank computes its subtree, an all-reduce completes it
};

enum class Epilogue : uint8_t {
  kStore,    // f32 out
  kSiluMul,  // two parts of equal size, gate and up: silu(gate) * up, in the activation dtype
};

// y = x W^T + bias. W is the concatenation of `parts` over the output dimension (q|k|v, gate|up).
struct LinearSpec {
  int64_t in = 0;              // of this rank
  DType dtype = DType::kBf16;  // of packed weights and of x: kBf16 or kF32
  Partition partition = Partition::kColumn;
  Epilogue epilogue = Epilogue::kStore;
  int32_t tp_size = 1;  // ranks that divide the input; matters to kRow only
};

// A rank's rows of the embedding: tokens [first_token, first_token + rows of its table).
struct EmbeddingSpec {
  DType dtype = DType::kBf16;  // rows are rounded to it before they are widened to f32
  int64_t first_token = 0;
  int64_t vocab_size = 0;  // of the whole model
};

// Opaque, made by Backend::Pack*, used by LayerOps of the same backend.
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;
  virtual int64_t in() const = 0;   // columns of x
  virtual int64_t out() const = 0;  // columns of the result, after the epilogue
};
class EmbeddingWeight {
 public:
  virtual ~EmbeddingWeight() = default;
};
class NormWeight {
 public:
  virtual ~NormWeight() = default;
};
// cos and sin by absolute position.
class RopeTable {
 public:
  virtual ~RopeTable() = default;
  virtual int64_t max_position() const = 0;  // positions [0, max_position)
};

struct RopeSpec {
  // One per rotated pair (d, d + n) of a head, n = inverse_frequencies.size(); dimensions from 2n
  // on pass unrotated. Scaled (rope_scaling) by the caller.
  absl::Span<const double> inverse_frequencies;
  double attention_factor = 1;  // multiplies cos and sin (YaRN)
  int64_t max_position = 0;
};

// The KV bytes of one KV group: `num_blocks` blocks of one layout. Block 0 is reserved: it is never
// read or written by a step. Fresh memory is zero.
class KvPool {
 public:
  virtual ~KvPool() = default;
  virtual const KvLayout& layout() const = 0;
  virtual int32_t num_blocks() const = 0;  // block 0 included
  // The first byte of a block in device memory (tests and transfers).
  virtual void* block(int32_t id) = 0;
};

struct AttentionSpec {
  int32_t num_q_heads = 0;  // of this rank; a multiple of the pool's num_kv_heads
  float scale = 0;          // usually head_dim^-1/2
};

// The largest step of an epoch.
struct StepLimits {
  int32_t max_tokens = 0;       // rows of a step
  int32_t max_lanes = 0;        // lanes are [0, max_lanes)
  int32_t max_logits_rows = 0;  // of a step
  int32_t max_sample_rows = 0;  // of a step
  int32_t max_model_len = 0;    // positions are [0, max_model_len)
  int32_t block_size = 8;       // tokens: that of the pools, or a smaller one
  int32_t vocab_size = 0;       // token ids are [0, vocab_size)
  // Of this rank: what attention's own memory depends on.
  int32_t num_q_heads = 1;
  int32_t num_kv_heads = 1;
  int32_t head_dim = 16;
};

// One step on its way, owned by the backend and valid from Prepare to Collect.
class PreparedStep {
 public:
  virtual ~PreparedStep() = default;
  virtual int64_t num_rows() const = 0;  // tokens
  virtual int64_t num_logits_rows() const = 0;
};

// The layer operations, at the grain that the fastest device fuses. Rows are the step's tokens.
// They may run behind the caller's back (on a stream) but in order.
class LayerOps {
 public:
  virtual ~LayerOps() = default;

  // out f32 [rows, hidden] = the embeddings of the tokens that this rank holds, and zeros for those
  // of the others.
  virtual void Embed(const EmbeddingWeight& weight, TensorView out) = 0;

  // residual f32 [rows, hidden] += delta f32 (when given: data != nullptr), then
  // out [rows, hidden] = RMSNorm(residual) * weight in the activation dtype.
  virtual void AddNorm(TensorView residual,
                       TensorView delta,
                       const NormWeight& weight,
                       float epsilon,
                       TensorView out) = 0;

  // x [rows, in] in the weight's dtype, out [rows, out]: f32, or x's dtype after kSiluMul. Of a
  // row-parallel weight that ranks divide, out is this rank's part of the sum, without the bias.
  virtual void Linear(TensorView x, const LinearWeight& weight, TensorView out) = 0;

  // Adds the bias that Linear left out to the finished sum: out f32 [rows, out].
  virtual void AddBias(const LinearWeight& weight, TensorView out) = 0;

  // qkv f32 [rows, (num_q_heads + 2 num_kv_heads) * head_dim]. Rotates q and k, rounds q, k, v to
  // the activation dtype, writes q to `q` [rows, num_q_heads * head_dim] and k, v of `layer` into
  // the pool at each row's position.
  virtual void RopeAndStoreKv(int layer,
                              TensorView qkv,
                              const RopeTable& rope,
                              KvPool& pool,
                              TensorView q) = 0;

  // out [rows, num_q_heads * head_dim] = causal attention of each row over its sequence's positions
  // up to its own, in the activation dtype. REQUIRES: the step's K and V of `layer` are stored.
  virtual void Attention(int layer,
                         TensorView q,
                         KvPool& pool,
                         const AttentionSpec& spec,
                         TensorView out) = 0;

  // out f32 [logits rows, vocabulary] = the linear over the step's logits rows of x [rows, in].
  virtual void Logits(TensorView x, const LinearWeight& weight, TensorView out) = 0;

  // out f32 [rows, vocabulary] from its parts f32 [ranks * rows, part]: column c is column c % part
  // of rank c / part, whose rows begin at that many times `rows`.
  virtual void JoinParts(TensorView parts, TensorView out) = 0;
};

// What a device is, for logs, `doctor` and the fingerprint.
struct DeviceInfo {
  std::string kind;         // what the bits of results may depend on: "cpu", "cuda sm_90"
  std::string description;  // "cpu avx512, 2 threads"
  std::string memory;       // equal for devices of one host that share memory; empty: the host's
  std::vector<std::pair<std::string, std::string>> facts;  // more of it, by name
};

struct DeviceMemory {
  uint64_t available = 0;  // bytes that this process may still take
  uint64_t total = 0;      // that it may take
};

class Backend {
 public:
  virtual ~Backend() = default;

  // ---- Device -----------------------------------------------------------------------------------
  virtual const DeviceInfo& info() const = 0;
  // OK, or why the device is lost to this process: nothing but its end helps. Any thread.
  virtual absl::Status status() const = 0;
  virtual DeviceMemory memory() const = 0;
  // Bytes that a KV pool may take, beside steps within `limits` and `reserved` bytes for what is
  // still to come, activations say. REQUIRES: no pool of an earlier epoch is left.
  virtual uint64_t PoolMemory(const StepLimits& limits, uint64_t reserved) const = 0;

  // ---- Load -------------------------------------------------------------------------------------
  // Each part is [out_i, spec.in]; biases are one vector [1, out_i] per part or none at all. f32,
  // bf16 and f16 sources are converted to spec.dtype (to bf16: nearest even). The sources are not
  // kept.
  virtual absl::StatusOr<std::unique_ptr<LinearWeight>> PackLinear(
      const LinearSpec& spec,
      absl::Span<const HostTensor> parts,
      absl::Span<const HostTensor> biases) = 0;

  // `table` [tokens, hidden] may be read in place: it must outlive the weight.
  virtual absl::StatusOr<std::unique_ptr<EmbeddingWeight>> PackEmbedding(
      const EmbeddingSpec& spec,
      const HostTensor& table) = 0;
  // `weight` [1, hidden], kept as f32.
  virtual absl::StatusOr<std::unique_ptr<NormWeight>> PackNorm(const HostTensor& weight) = 0;
  virtual absl::StatusOr<std::unique_ptr<RopeTable>> MakeRopeTable(const RopeSpec& spec) = 0;
  virtual absl::StatusOr<std::unique_ptr<KvPool>> MakeKvPool(const KvLayout& layout,
                                                             int32_t num_blocks) = 0;
  // Blocks in the host's memory for those that leave a pool of the same layout; page-locked where a
  // device copies from and to it. RESOURCE_EXHAUSTED without so much.
  virtual absl::StatusOr<std::unique_ptr<KvPool>> MakeHostKvPool(const KvLayout& layout,
                                                                 int32_t num_blocks) = 0;
  // How this device meets those of the other ranks, in one epoch.
  virtual absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(
      const CommOptions& options) = 0;

  // Starts an epoch, after all weights are packed: lays out lanes and the kernels' own memory for
  // steps within `limits`. Activations, lane tokens and prepared steps of the epoch before are
  // gone.
  virtual absl::Status Configure(const StepLimits& limits) = 0;
  // An activation buffer [rows, cols], zeroed, alive until the next Configure.
  virtual absl::StatusOr<TensorView> NewActivation(DType dtype, int64_t rows, int64_t cols) = 0;

  // ---- Step -------------------------------------------------------------------------------------
  // The lane's last token as the host knows it (after a bind); `CopyLaneToken` is for forks.
  virtual void SetLaneToken(int32_t lane, int32_t token) = 0;
  virtual void CopyLaneToken(int32_t from, int32_t to) = 0;

  // Block operations take effect after the steps already run and before the next.
  virtual void CopyBlocks(KvPool& pool, absl::Span<const BlockCopy> copies) = 0;
  virtual void ZeroBlocks(KvPool& pool, absl::Span<const int32_t> blocks) = 0;

  // Begins to copy blocks from one pool to another, one of them the host's: after the steps already
  // run, beside those to come. Until it is finished both ends are the transfer's alone; no block is
  // named twice. RESOURCE_EXHAUSTED when too many transfers are under way: nothing has begun then.
  virtual absl::Status StartTransfer(KvPool& from,
                                     KvPool& to,
                                     absl::Span<const BlockCopy> copies) = 0;
  // How many transfers have finished since Configure, in the order in which they began. Does not
  // wait.
  virtual absl::StatusOr<uint64_t> FinishedTransfers() = 0;

  // Checks and uploads a step over `pool`. INVALID_ARGUMENT when a token id, lane, position, block
  // or size is out of range; nothing has happened then.
  virtual absl::StatusOr<PreparedStep*> Prepare(const StepInput& input, const KvPool& pool) = 0;

  // Runs the forward pass: `body` is called once, on the calling thread. Its Status is returned.
  virtual absl::Status Run(PreparedStep& step,
                           absl::FunctionRef<absl::Status(LayerOps& ops)> body) = 0;

  // Rank 0 draws one token per row from `logits` f32 [logits rows, vocabulary]; on every rank it
  // becomes its lane's last token. `logits` may be overwritten; elsewhere it is empty, and of the
  // results only the tokens are known. The step is all queued then. Errors as of the communicator.
  virtual absl::Status Sample(PreparedStep& step,
                              TensorView logits,
                              absl::Span<const SampleRow> rows,
                              Communicator& comm) = 0;

  // `done` is called after each Sample, once Collect would not wait: on any thread, which it must
  // not hold up. Set once, before the first step.
  virtual void OnStepDone(std::function<void()> done) = 0;

  // Waits for the step's results, the only call that blocks. They are valid until the second
  // Prepare after it; the step itself is gone.
  virtual absl::StatusOr<const StepOutput*> Collect(PreparedStep& step) = 0;
};

// Opens the device that `rank` of a group computes on.
using BackendFactory = std::function<absl::StatusOr<std::unique_ptr<Backend>>(int rank)>;

}  // namespace pagoda
