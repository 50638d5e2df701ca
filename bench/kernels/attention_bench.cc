// Paged decode attention beside the same kernel over contiguous KV (each sequence one huge block),
// in one run with interleaved medians: the paging tax, and KV bytes per second beside the read
// bandwidth of the same threads. KV is far larger than the last-level cache.
//
//   attention_bench [isa [threads [rounds]]]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/kernels/limits.h"
#include "common/check.h"
#include "common/limits.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_team.h"
#include "kernels/kv_layout.h"

namespace pagoda::cpu {
namespace {

constexpr size_t kKvBytes = size_t{512} << 20;
constexpr int kKvHeads = 8;

// Runs fn(part) for team.size() parts at once and returns the seconds it took.
template <class Fn>
double Seconds(ThreadTeam& team, const Fn& fn) {
  const ThreadTeam::Step awake(&team);
  const ScopedFlushDenormals flush;
  const auto from = std::chrono::steady_clock::now();
  team.ForEach(team.size(), [&](int64_t part, int) { fn(static_cast<int>(part)); });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
}

HugeBuffer MakeBuffer(size_t bytes) {
  absl::StatusOr<HugeBuffer> buffer = HugeBuffer::Make(bytes);
  CHECK_OK(buffer);
  return *std::move(buffer);
}

struct Shape {
  int head_dim, group, context;
};

// Decode of one layer over a pool in blocks of block_size tokens, blocks in random or in rising
// order.
class Decode {
 public:
  Decode(const Shape& shape,
         int block_size,
         bool shuffled,
         std::byte* pool,
         const void* q,
         void* out)
      : layout_{1, kKvHeads, shape.head_dim, block_size, DType::kBf16} {
    const size_t blocks = kKvBytes / layout_.BlockBytes();
    const int per_sequence = shape.context / block_size;
    const int batch = static_cast<int>(blocks / per_sequence);
    ids_.resize(blocks);
    std::iota(ids_.begin(), ids_.end(), 0);
    if (shuffled) std::shuffle(ids_.begin(), ids_.end(), std::mt19937(7));
    for (int s = 0; s < batch; ++s) {
      sequences_.push_back({&ids_[size_t(s) * per_sequence], shape.context - 1, s, 1, 0});
    }
    const int width = kKvHeads * shape.group * shape.head_dim;
    args_ = {{kKvHeads * shape.group,
              kKvHeads,
              shape.head_dim,
              block_size,
              1 / std::sqrt(static_cast<float>(shape.head_dim)),
              DType::kBf16},
             {pool, layout_.BlockBytes(), layout_.TileBytes(), layout_.VTileOffset(0, 0)},
             sequences_.data(),
             q,
             out,
             static_cast<size_t>(width),
             static_cast<size_t>(width)};
    PlanAttention(args_.shape, sequences_.data(), batch, &items_);
  }

  int batch() const { return static_cast<int>(sequences_.size()); }

  double Run(ThreadTeam& team, AttentionFn attention, std::byte* scratch) {
    std::atomic<size_t> next = 0;
    return Seconds(team, [&](int thread) {
      auto* mine = reinterpret_cast<float*>(scratch + thread * kAttentionScratchBytes);
      for (size_t i; (i = next.fetch_add(1)) < items_.size();) attention(args_, items_[i], mine);
    });
  }

 private:
  KvLayout layout_;
  std::vector<int32_t> ids_;
  std::vector<AttentionSequence> sequences_;
  AttentionArgs args_;
  std::vector<AttentionItem> items_;
};

// One pass over the same bytes.
double Read(ThreadTeam& team, Isa isa, const std::byte* pool) {
  std::atomic<float> sink{0};
  return Seconds(team, [&](int thread) {
    const size_t part = kKvBytes / 1024 / team.size() * 1024;
    sink = bench::LimitsFor(isa).read(pool + part * thread, part);
  });
}

double Median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + x.size() / 2, x.end());
  return x[x.size() / 2];
}

struct Buffers {
  std::byte* pool;
  std::byte* q;
  std::byte* out;
  std::byte* scratch;
};

void Bench(const Shape& shape, ThreadTeam& team, Isa isa, int rounds, const Buffers& b) {
  const AttentionFn attention = KernelsFor(isa).attention;
  const auto make = [&](int block_size, bool shuffled) {
    return Decode(shape, block_size, shuffled, b.pool, b.q, b.out);
  };
  Decode contiguous = make(shape.context, false), ordered16 = make(16, false);
  Decode paged16 = make(16, true), paged128 = make(128, true);
  std::vector<double> read, one, in_order, of16, of128;
  for (int i = 0; i < rounds + 1; ++i) {
    read.push_back(Read(team, isa, b.pool));
    one.push_back(contiguous.Run(team, attention, b.scratch));
    of16.push_back(paged16.Run(team, attention, b.scratch));
    in_order.push_back(ordered16.Run(team, attention, b.scratch));
    of128.push_back(paged128.Run(team, attention, b.scratch));
    if (i > 0) continue;  // the first round warms up
    for (std::vector<double>* times : {&read, &one, &in_order, &of16, &of128}) times->clear();
  }
  const double gb = kKvBytes / 1e9;
  const auto tax = [&](const std::vector<double>& x) {
    return 100 * (Median(x) / Median(one) - 1);
  };
  std::printf(
      "D=%-3d G=%d ctx=%-4d batch=%-4d | read %5.1f GB/s | contiguous %5.1f | "
      "blocks of 16 %5.1f = %3.0f %% of read, tax %+5.1f %% (in order %+5.1f %%) | "
      "of 128 tax %+5.1f %%\n",
      shape.head_dim,
      shape.group,
      shape.context,
      paged16.batch(),
      gb / Median(read),
      gb / Median(one),
      gb / Median(of16),
      100 * Median(read) / Median(of16),
      tax(of16),
      tax(in_order),
      tax(of128));
  std::fflush(stdout);
}

// Copies of the same random bf16 values.
void FillRandom(std::byte* to, size_t bytes) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> values(1 << 20);
  for (uint16_t& x : values) x = F32ToBf16(normal(random));
  const size_t size = values.size() * sizeof(uint16_t);
  for (size_t at = 0; at < bytes; at += size) std::memcpy(to + at, values.data(), size);
}

int Main(int argc, char** argv) {
  const absl::StatusOr<Isa> isa = ChooseIsa(argc > 1 ? argv[1] : "auto");
  const int threads = argc > 2 ? std::atoi(argv[2]) : CpuLimit();
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 9;
  if (threads < 1 || rounds < 1 || !isa.ok()) {
    std::fprintf(stderr, "usage: attention_bench [isa [threads [rounds]]]\n");
    return 2;
  }
  const HugeBuffer pool = MakeBuffer(kKvBytes), q = MakeBuffer(size_t{64} << 20),
                   out = MakeBuffer(q.bytes()),
                   scratch = MakeBuffer(threads * kAttentionScratchBytes);
  FillRandom(pool.data(), kKvBytes);
  FillRandom(q.data(), q.bytes());
  ThreadTeam team(threads);
  std::printf("%s, %d threads, %zu MiB of bf16 KV, %d KV heads, median of %d\n",
              IsaName(*isa),
              threads,
              kKvBytes >> 20,
              kKvHeads,
              rounds);
  for (const Shape& shape : {Shape{64, 2, 512},
                             {64, 4, 512},
                             {64, 4, 4096},
                             {128, 4, 512},
                             {128, 4, 2048},
                             {128, 4, 4096}}) {
    Bench(shape, team, *isa, rounds, {pool.data(), q.data(), out.data(), scratch.data()});
  }
  return 0;
}

}  // namespace
}  // namespace pagoda::cpu

int main(int argc, char** argv) { return pagoda::cpu::Main(argc, argv); }
