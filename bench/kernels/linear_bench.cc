// The bf16 linear as a share of what the machine gives: at few rows of the read bandwidth, at many
// of the FMA rate of the instruction set in use, both measured in the same run.
//
//   linear_bench [isa [threads [in [out]]]]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/kernels/limits.h"
#include "common/check.h"
#include "common/limits.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/thread_team.h"

namespace pagoda::bench {
namespace {

constexpr int kMaxRows = 512;

template <class Fn>
double Seconds(const Fn& fn) {
  const auto begin = std::chrono::steady_clock::now();
  fn();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// What the machine gives at this moment. A shared machine gives more at one moment than at another,
// so limits and kernel take turns, and the best of each counts.
class Machine {
 public:
  Machine(cpu::Isa isa, int threads)
      : limits_(LimitsFor(isa)),
        rounds_(isa == cpu::Isa::kScalar ? 5'000 : 200'000),
        team_(threads),
        buffer_(*cpu::HugeBuffer::Make(kBytes)) {
    std::fill_n(buffer_.data(), kBytes, std::byte{1});
  }

  // Bytes per second, all threads.
  double Read() {
    std::atomic<float> sink{0};
    return kBytes / Seconds([&] {
             team_.Split(kBytes / 1024, [&](int64_t begin, int64_t end, int) {
               sink = limits_.read(buffer_.data() + begin * 1024, (end - begin) * 1024);
             });
           });
  }

  // Operations per second, all threads.
  double Fma() {
    const int64_t parts = int64_t{8} * team_.size();
    std::atomic<double> flops{0};
    const double seconds =
        Seconds([&] { team_.ForEach(parts, [&](int64_t, int) { flops = limits_.fma(rounds_); }); });
    return flops * static_cast<double>(parts) / seconds;
  }

 private:
  static constexpr size_t kBytes = size_t{256} << 20;

  const LimitKernels& limits_;
  const int64_t rounds_;
  cpu::ThreadTeam team_;
  const cpu::HugeBuffer buffer_;
};

std::vector<uint16_t> RandomBf16(int64_t count) {
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<uint16_t> values(count);
  for (uint16_t& value : values) value = F32ToBf16(uniform(generator));
  return values;
}

// One linear [in -> out] on a backend, run as a step would.
class Bench {
 public:
  Bench(const cpu::CpuBackendOptions& options, int64_t in, int64_t out)
      : backend_(*cpu::MakeCpuBackend(options)) {
    const std::vector<uint16_t> values = RandomBf16(in * out);
    const HostTensor part{values.data(), DType::kBf16, out, in, in};
    weight_ = *backend_->PackLinear({.in = in}, {part}, {});
    CHECK_OK(backend_->Configure({.max_tokens = kMaxRows,
                                  .max_lanes = 1,
                                  .max_logits_rows = 1,
                                  .max_sample_rows = 1,
                                  .max_model_len = kMaxRows,
                                  .vocab_size = 8}));
    pool_ = *backend_->MakeKvPool(
        {.num_layers = 1, .num_kv_heads = 1, .head_dim = 16, .block_size = kMaxRows},
        2);
    x_ = *backend_->NewActivation(DType::kBf16, kMaxRows, in);
    y_ = *backend_->NewActivation(DType::kF32, kMaxRows, out);
    std::copy_n(values.begin(),
                std::min<int64_t>(values.size(), kMaxRows * x_.row_stride),
                static_cast<uint16_t*>(x_.data));
  }

  // Seconds of one call with `rows` rows.
  double Call(int rows) {
    const std::vector<int32_t> tokens(rows), blocks = {1};
    const SequenceInput sequence{.num_tokens = rows, .tokens = tokens, .block_table = blocks};
    const auto step = backend_->Prepare({.sequences = {&sequence, 1}}, *pool_);
    CHECK_OK(step);
    double seconds = 0;
    CHECK_OK(backend_->Run(**step, [&](LayerOps& ops) {
      const TensorView x = x_.Rows(0, rows), y = y_.Rows(0, rows);
      seconds = Seconds([&] { ops.Linear(x, *weight_, y); });
      return absl::OkStatus();
    }));
    CHECK_OK(backend_->Collect(**step));
    return seconds;
  }

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<LinearWeight> weight_;
  std::unique_ptr<KvPool> pool_;
  TensorView x_, y_;
};

void Main(const std::string& isa_name, int threads, int64_t in, int64_t out) {
  const auto isa = cpu::ChooseIsa(isa_name);
  CHECK_OK(isa);
  const bool slow = *isa == cpu::Isa::kScalar;
  const int rounds = slow ? 2 : 15;
  Machine machine(*isa, threads);
  Bench bench({.threads = threads, .isa = isa_name}, in, out);
  std::printf("bf16 linear %ld -> %ld (%.0f MB), %s, %d threads, best of %d\n",
              in,
              out,
              in * out * 2e-6,
              IsaName(*isa),
              threads,
              rounds);
  std::printf(" rows         us     GB/s  of read   share   GFLOP/s    of fma   share\n");
  for (int rows = 1; rows <= (slow ? 4 : kMaxRows); rows *= 2) {
    double read = 0, fma = 0, seconds = 1e30;
    for (int round = 0; round < rounds; ++round) {
      read = std::max(read, machine.Read());
      fma = std::max(fma, machine.Fma());
      seconds = std::min(seconds, bench.Call(rows));
    }
    const double bytes = in * out * 2.0 / seconds, flops = 2.0 * rows * in * out / seconds;
    std::printf("%5d %10.1f %8.1f %8.1f %6.0f%% %9.1f %9.1f %6.0f%%\n",
                rows,
                seconds * 1e6,
                bytes * 1e-9,
                read * 1e-9,
                100 * bytes / read,
                flops * 1e-9,
                fma * 1e-9,
                100 * flops / fma);
  }
}

}  // namespace

}  // namespace pagoda::bench

int main(int argc, char** argv) {
  const auto number = [&](int i, int64_t otherwise) {
    return argc > i ? std::atol(argv[i]) : otherwise;
  };
  pagoda::bench::Main(argc > 1 ? argv[1] : "auto",
                      static_cast<int>(number(2, pagoda::CpuLimit())),
                      number(3, 4096),
                      number(4, 14336));
}
