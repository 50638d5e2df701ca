// The layer operations over a prepared step: shapes are checked, work is divided over the team, a
// kernel does each share.
#pragma once

#include <cstddef>

#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_step.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/thread_team.h"

namespace pagoda::cpu {

// Each thread's own memory inside kernels.
class TeamScratch {
 public:
  TeamScratch() = default;
  TeamScratch(HugeBuffer memory, size_t bytes_per_thread)
      : memory_(std::move(memory)), bytes_per_thread_(bytes_per_thread) {}

  // REQUIRES: bytes fit in a thread's part.
  float* Floats(int thread, size_t bytes) const;

 private:
  HugeBuffer memory_;
  size_t bytes_per_thread_ = 0;
};

// Lives for one body. The step's caller has denormals flushed.
class CpuLayerOps final : public LayerOps {
 public:
  CpuLayerOps(ThreadTeam* team,
              const CpuKernels& kernels,
              const TeamScratch& scratch,
              CpuStep* step)
      : team_(*team), kernels_(kernels), scratch_(scratch), step_(*step) {}

  void Embed(const EmbeddingWeight& weight, TensorView out) override;
  void AddNorm(TensorView residual,
               TensorView delta,
               const NormWeight& weight,
               float epsilon,
               TensorView out) override;
  void Linear(TensorView x, const LinearWeight& weight, TensorView out) override;
  void AddBias(const LinearWeight& weight, TensorView out) override;
  void RopeAndStoreKv(int layer,
                      TensorView qkv,
                      const RopeTable& rope,
                      KvPool& pool,
                      TensorView q) override;
  void Attention(int layer,
                 TensorView q,
                 KvPool& pool,
                 const AttentionSpec& spec,
                 TensorView out) override;
  void Logits(TensorView x, const LinearWeight& weight, TensorView out) override;
  void JoinParts(TensorView parts, TensorView out) override;

 private:
  void RunLinear(TensorView x,
                 const int32_t* x_row,
                 int64_t rows,
                 const LinearWeight& weight,
                 TensorView out);

  ThreadTeam& team_;
  const CpuKernels& kernels_;
  const TeamScratch& scratch_;
  CpuStep& step_;
};

}  // namespace pagoda::cpu
