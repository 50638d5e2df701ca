// Builds paged KV for the attention tests: token-major random K, V and q, stored into shuffled
// blocks of a pool whose every other byte is NaN; and two references that never see a block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/isa.h"
#include "kernels/dtype.h"

namespace pagoda::cpu {

struct SequenceCase {
  int context;  // positions stored, the step's rows included
  int rows;     // the last `rows` of them are queried
  int window = 0;
  int nan_from = 1 << 30;  // positions of [nan_from, nan_to) hold NaN in K and V
  int nan_to = 1 << 30;
  int values = -1;  // which random values it holds; -1: those of its place in the list
};

struct AttentionCase {
  DType dtype = DType::kBf16;
  int num_heads = 4;
  int num_kv_heads = 2;
  int head_dim = 64;
  int block_size = 16;
  std::vector<SequenceCase> sequences;
  uint64_t seed = 1;            // of q, K, V: the values do not depend on the fields below
  uint64_t placement_seed = 1;  // of the physical blocks
  float magnitude = 1;          // of q: large values make sharp softmaxes
};

// The nearest value that the dtype holds.
float RoundTo(DType dtype, float x);

class AttentionFixture {
 public:
  explicit AttentionFixture(const AttentionCase& c);

  // Attention of all rows by the kernel, [rows][num_heads * head_dim], as f32 (bf16 widened). Rows
  // of a sequence are given to the kernel in runs of at most `chunk` (0: all at once).
  std::vector<float> Run(Isa isa, int chunk = 0) const;

  // The textbook formula in double.
  std::vector<double> Naive() const;

  // kernels/NUMERICS.md, "Attention", one element after the other in plain scalar code.
  std::vector<float> Contract() const;

  int rows() const { return rows_; }

  // What the kernels are given, in values of the dtype: q [rows][num_heads * head_dim], and K and V
  // of one position [head_dim].
  const std::vector<float>& q() const { return q_; }
  const float* K(int sequence, int position, int kv_head) const {
    return &k_[((start_[sequence] + position) * c_.num_kv_heads + kv_head) * c_.head_dim];
  }
  const float* V(int sequence, int position, int kv_head) const {
    return &v_[((start_[sequence] + position) * c_.num_kv_heads + kv_head) * c_.head_dim];
  }

 private:
  struct Row {
    int sequence, position;
  };

  int FirstSeen(const Row& row) const;
  void Fill();
  void Place();
  template <class T>
  void StoreTokens();
  void ContractRow(const Row& row, const float* q, int kv_head, float* out) const;

  const ScopedFlushDenormals flush_;  // as on every thread that computes
  AttentionCase c_;
  int rows_ = 0;
  std::vector<Row> row_;
  std::vector<size_t> start_;     // by sequence: its first token in k_ and v_
  std::vector<float> q_, k_, v_;  // values representable in the dtype
  std::vector<std::vector<int32_t>> tables_;
  std::vector<std::byte> pool_;
  KvLayerView view_;
};

}  // namespace pagoda::cpu
