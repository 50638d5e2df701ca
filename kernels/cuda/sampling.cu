#include "common/philox.h"
#include "kernels/cuda/device_math.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/sampling.h"

namespace pagoda::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr float kInfinity = __builtin_inff();
constexpr float kGreedyBelow = 1e-5f;
constexpr int kSumBlock = 1024;  // of the sum of exponentials
constexpr int kSumLanes = 16;
constexpr uint32_t kDrawPurpose = 0;
// Of a float <= 0 the bits without the sign order it from 0 down to -infinity.
constexpr uint32_t kRemoved = 0x7f800000;
constexpr int kDigits = 3;  // of the 31 bits of a key: 11, 11 and 9, the highest first
constexpr int kBins = 1 << 11;

struct Entry {
  float value;
  int id;
};

struct Shared {
  Entry best[kWarps];
  unsigned long long bins[kBins];
  unsigned long long whole;    // measure of all candidates
  unsigned long long missing;  // what candidates of smaller keys leave to the cut's
  uint32_t key;                // the digits of the cut found so far
  int tied[kWarps];            // candidates at the cut, by warp
  int first_gone;              // the first of them that is removed
  float sums[kThreads / kSumLanes];
  double total;
};

// The larger value, then the lower id.
__device__ __forceinline__ bool IsBetter(Entry a, Entry b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

// The best entry of all threads, to all of them.
__device__ __forceinline__ Entry Best(Shared& shared, Entry mine) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int step = 16; step > 0; step /= 2) {
    const Entry other = {__shfl_xor_sync(0xffffffff, mine.value, step),
                         __shfl_xor_sync(0xffffffff, mine.id, step)};
    if (IsBetter(other, mine)) mine = other;
  }
  if (lane == 0) shared.best[warp] = mine;
  __syncthreads();  // every warp's best is there
  for (int w = 0; w < kWarps; ++w) {
    if (IsBetter(shared.best[w], mine)) mine = shared.best[w];
  }
  __syncthreads();  // they may be overwritten
  return mine;
}

// The first index of the maximum; -1 when x holds a NaN or +infinity, or nothing above -infinity.
__device__ __forceinline__ int Argmax(Shared& shared, const float* x, int n) {
  Entry best = {-kInfinity, n};
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) {
    const bool is_usable = x[i] < kInfinity;
    const Entry entry = {is_usable ? x[i] : kInfinity, i};
    if (entry.value > best.value) best = entry;
  }
  best = Best(shared, best);
  return best.value == kInfinity || best.id == n ? -1 : best.id;
}

// A row's candidates: score x = (logit - max) / T, in the order (x falling, id rising), as far as
// they come before `bound` = key of x, id.
struct Candidates {
  const float* logits;
  int vocab;
  float max;
  float temperature;
  float min_p;
  uint64_t bound;

  __device__ __forceinline__ float Score(int i) const {
    return __fdiv_rn(__fadd_rn(logits[i], -max), temperature);
  }
  __device__ __forceinline__ static uint32_t KeyOf(float score) {
    return __float_as_uint(score) & 0x7fffffff;
  }
  __device__ __forceinline__ bool Keeps(int i, float score) const {
    const uint32_t key = KeyOf(score);
    return key < kRemoved && (uint64_t{key} << 32 | static_cast<uint32_t>(i)) < bound &&
           !(min_p > 0 && Exp(score) < min_p);
  }
};

// What a selection counts: candidates, or their weight in units of 2^-40.
__device__ __forceinline__ unsigned long long Measure(bool by_weight, float score) {
  return by_weight ? static_cast<unsigned long long>(__fmul_rn(Exp(score), 0x1p40f)) : 1;
}

// The measures of the candidates by their next digit, which lies at bit `shift` of the key; the
// digits before it are the cut's.
__device__ __forceinline__ void FillBins(Shared& shared,
                                         const Candidates& candidates,
                                         bool by_weight,
                                         int shift,
                                         int bits) {
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) shared.bins[i] = 0;
  __syncthreads();  // the bins are empty
  for (int i = static_cast<int>(threadIdx.x); i < candidates.vocab; i += kThreads) {
    const float score = candidates.Score(i);
    const uint32_t key = Candidates::KeyOf(score);
    const bool belongs = shift + bits == 31 || key >> (shift + bits) == shared.key;
    if (!belongs || !candidates.Keeps(i, score)) continue;
    atomicAdd(&shared.bins[key >> shift & ((1U << bits) - 1)], Measure(by_weight, score));
  }
  __syncthreads();  // the bins are full
}

// How much of `whole` the prefix must hold.
__device__ __forceinline__ unsigned long long Target(unsigned long long whole,
                                                     int top_k,
                                                     float top_p) {
  if (top_k > 0) return static_cast<unsigned long long>(top_k);
  const auto share = static_cast<unsigned long long>(static_cast<double>(top_p) * 0x1p32);
  const auto product = static_cast<unsigned __int128>(whole) * share;
  const auto target = static_cast<unsigned long long>((product + 0xffffffff) >> 32);
  return target > 0 ? target : 1;
}

// The first candidate at the cut's key after `ties` of them, by id; vocab when there is none.
__device__ __forceinline__ int FirstGone(Shared& shared,
                                         const Candidates& candidates,
                                         unsigned long long ties) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  if (thread == 0) shared.first_gone = candidates.vocab;
  unsigned long long before = 0;
  for (int first = 0; first < candidates.vocab && before <= ties; first += kThreads) {
    const int i = first + thread;
    bool is_tied = false;
    if (i < candidates.vocab) {
      const float score = candidates.Score(i);
      is_tied = Candidates::KeyOf(score) == shared.key && candidates.Keeps(i, score);
    }
    const uint32_t votes = __ballot_sync(0xffffffff, is_tied);
    if (lane == 0) shared.tied[warp] = __popc(votes);
    __syncthreads();  // every warp has counted
    unsigned long long rank = before + static_cast<unsigned>(__popc(votes & ((1U << lane) - 1)));
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) rank += static_cast<unsigned>(shared.tied[w]);
      before += static_cast<unsigned>(shared.tied[w]);
    }
    if (is_tied && rank == ties) shared.first_gone = i;
    __syncthreads();  // the counts may be overwritten, the answer is there
  }
  return shared.first_gone;
}

// Keeps the shortest prefix with top_k candidates or, when that is 0, top_p of their weight.
__device__ __forceinline__ void KeepPrefix(Shared& shared,
                                           Candidates& candidates,
                                           int top_k,
                                           float top_p) {
  int shift = 31;
  for (int digit = 0; digit < kDigits; ++digit) {
    const int bits = digit < kDigits - 1 ? 11 : 9;
    shift -= bits;
    FillBins(shared, candidates, top_k == 0, shift, bits);
    if (threadIdx.x == 0) {
      if (digit == 0) {
        unsigned long long whole = 0;
        for (const unsigned long long bin : shared.bins) whole += bin;
        shared.whole = whole;
        shared.missing = Target(whole, top_k, top_p);
        shared.key = 0;
      }
      if (shared.missing <= shared.whole) {
        uint32_t at = 0;
        for (; shared.bins[at] < shared.missing; ++at) shared.missing -= shared.bins[at];
        shared.key = shared.key << bits | at;
      }
    }
    __syncthreads();                            // the digit is there
    if (shared.missing > shared.whole) return;  // top_k keeps them all
  }
  unsigned long long ties = shared.missing;
  if (top_k == 0) {
    const unsigned long long each = Measure(true, -__uint_as_float(shared.key));
    ties = (ties + each - 1) / each;
  }
  const uint64_t bound =
      uint64_t{shared.key} << 32 | static_cast<uint32_t>(FirstGone(shared, candidates, ties));
  if (bound < candidates.bound) candidates.bound = bound;
}

__device__ __forceinline__ int DrawCandidate(Shared& shared,
                                             const Candidates& candidates,
                                             const SampleTask& task) {
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(task.params.seed),
                                       static_cast<uint32_t>(task.params.seed >> 32)};
  Entry best = {-kInfinity, candidates.vocab};
  const int groups = (candidates.vocab + 3) / 4;
  for (int group = static_cast<int>(threadIdx.x); group < groups; group += kThreads) {
    const std::array<uint32_t, 4> words =
        Philox4x32({task.position, task.sequence_index, kDrawPurpose, static_cast<uint32_t>(group)},
                   key);
    for (int j = 0; j < 4; ++j) {
      const int i = 4 * group + j;
      if (i >= candidates.vocab) continue;
      const float score = candidates.Score(i);
      if (!candidates.Keeps(i, score)) continue;
      const Entry entry = {__fadd_rn(score, Gumbel(words[j])), i};
      if (IsBetter(entry, best)) best = entry;
    }
  }
  return Best(shared, best).id;
}

// The row's logits after its edits, which go to `edited`.
__device__ __forceinline__ const float* Edit(const SampleTask& task,
                                             const LogitEdit* edits,
                                             const float* logits,
                                             int vocab,
                                             float* edited) {
  if (task.first_edit == task.end) return logits;
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < vocab; i += kThreads) edited[i] = logits[i];
  __syncthreads();  // the copy is whole
  const SamplingParams& params = task.params;
  for (int e = task.first_edit + thread; e < task.biases; e += kThreads) {
    float logit = edited[edits[e].token];
    const float repetition = params.repetition_penalty;
    if (repetition != 1) {
      logit = logit > 0 ? __fdiv_rn(logit, repetition) : __fmul_rn(logit, repetition);
    }
    if (edits[e].count > 0) {
      const float count = static_cast<float>(edits[e].count);
      logit = __fadd_rn(logit, -__fmul_rn(params.frequency_penalty, count));
      logit = __fadd_rn(logit, -params.presence_penalty);
    }
    edited[edits[e].token] = logit;
  }
  __syncthreads();  // penalties come before biases
  // A token may have several biases.
  if (thread == 0) {
    for (int e = task.biases; e < task.bans; ++e) {
      edited[edits[e].token] = __fadd_rn(edited[edits[e].token], edits[e].bias);
    }
  }
  __syncthreads();  // biases come before bans
  for (int e = task.bans + thread; e < task.end; e += kThreads) edited[edits[e].token] = -kInfinity;
  __syncthreads();  // all is edited
  return edited;
}

// The token drawn; -1 when the logits are unusable.
__device__ __forceinline__ int Draw(Shared& shared,
                                    const SampleTask& task,
                                    const float* logits,
                                    int vocab) {
  const int best = Argmax(shared, logits, vocab);
  const SamplingParams& params = task.params;
  if (best < 0 || params.temperature < kGreedyBelow || params.top_k == 1) return best;
  Candidates candidates =
      {logits, vocab, logits[best], params.temperature, params.min_p, uint64_t{kRemoved} << 32};
  if (params.top_k > 0 && params.top_k < vocab) KeepPrefix(shared, candidates, params.top_k, 0);
  if (params.top_p < 1) KeepPrefix(shared, candidates, 0, params.top_p);
  return DrawCandidate(shared, candidates, task);
}

// The sum of exp(x - max): 16 lanes per 1,024 entries, the rest in double, ascending.
__device__ __forceinline__ double SumExp(Shared& shared, const float* x, int n, float max) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kSumLanes;
  constexpr int kBlocks = kThreads / kSumLanes;  // at a time
  if (thread == 0) shared.total = 0;
  for (int first = 0; first < n; first += kBlocks * kSumBlock) {
    const int block = first + thread / kSumLanes * kSumBlock;
    const int end = block + kSumBlock < n ? block + kSumBlock : n;
    float sum = 0;
    for (int i = block + lane; i < end; i += kSumLanes) {
      sum = __fadd_rn(sum, Exp(__fadd_rn(x[i], -max)));
    }
    for (int step = kSumLanes / 2; step > 0; step /= 2) {
      sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffff, sum, step));
    }
    if (lane == 0) shared.sums[thread / kSumLanes] = sum;
    __syncthreads();  // the blocks are summed
    if (thread == 0) {
      for (int b = 0; b < kBlocks && first + b * kSumBlock < n; ++b) shared.total += shared.sums[b];
    }
    __syncthreads();  // they may be overwritten
  }
  return shared.total;
}

// Log-probabilities of the drawn token and of the most likely ones.
__device__ __forceinline__ void LogProbabilities(Shared& shared,
                                                 const SampleTask& task,
                                                 const float* logits,
                                                 int vocab,
                                                 SampledToken* token,
                                                 TokenLogprob* top) {
  const int best = Argmax(shared, logits, vocab);
  if (best < 0) {
    token->token = -1;
    return;
  }
  const double max = logits[best];
  const double log_sum = Log(SumExp(shared, logits, vocab, logits[best]));
  token->logprob = static_cast<float>(logits[token->token] - max - log_sum);
  token->top_count = task.params.logprobs < vocab ? task.params.logprobs : vocab;
  Entry last = {kInfinity, -1};
  for (int k = 0; k < token->top_count; ++k) {
    Entry next = {-kInfinity, vocab};
    for (int i = static_cast<int>(threadIdx.x); i < vocab; i += kThreads) {
      const Entry entry = {logits[i], i};
      if (IsBetter(last, entry) && IsBetter(entry, next)) next = entry;
    }
    last = Best(shared, next);
    if (threadIdx.x == 0) {
      top[task.top_begin + k] = {last.id, static_cast<float>(last.value - max - log_sum)};
    }
  }
}

// A CTA per row. Two on a multiprocessor: without the number ptxas aims higher, and spills.
__global__ void __launch_bounds__(kThreads, 2) SampleRows(__grid_constant__ const SampleArgs args) {
  Shared& shared = SharedMemory<Shared>();
  const int row = static_cast<int>(blockIdx.x);
  const SampleTask& task = args.tasks[row];
  const float* const logits = args.logits + task.logits_row * args.logits_stride;
  float* const edited = args.edited + int64_t{row} * args.vocab;
  SampledToken token;
  token.token = Draw(shared, task, Edit(task, args.edits, logits, args.vocab, edited), args.vocab);
  if (token.token >= 0 && task.params.logprobs >= 0) {
    LogProbabilities(shared, task, logits, args.vocab, &token, args.top);
  }
  token.top_begin = task.top_begin;
  if (threadIdx.x != 0) return;
  args.tokens[row] = token;
  args.lane_tokens[task.lane] = token.token > 0 ? token.token : 0;
}

}  // namespace

cudaError_t RunSampling(const SampleArgs& args, cudaStream_t stream) {
  return Launch(
      {"SampleRows", static_cast<unsigned>(args.num_tasks), kThreads, sizeof(Shared), stream},
      SampleRows,
      args);
}

}  // namespace pagoda::cuda
