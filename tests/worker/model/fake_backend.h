// A backend that computes nothing: it records what it was asked to pack and which layer operations
// ran, so that tests see how a model is put together.
#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "kernels/backend.h"

namespace pagoda::testing {

// What was packed, widened to f32, row-major.
struct Packed {
  LinearSpec spec;
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;  // the parts one after the other
  std::vector<float> biases;
};

inline float ElementOf(const HostTensor& tensor, int64_t row, int64_t col) {
  const char* at = static_cast<const char*>(tensor.data) +
                   (row * tensor.row_stride + col) * DTypeSize(tensor.dtype);
  float wide;
  uint16_t bits;
  if (tensor.dtype == DType::kF32) {
    std::memcpy(&wide, at, sizeof(wide));
    return wide;
  }
  std::memcpy(&bits, at, sizeof(bits));
  return tensor.dtype == DType::kBf16 ? Bf16ToF32(bits) : F16ToF32(bits);
}

inline void AppendValues(const HostTensor& tensor, std::vector<float>* values) {
  for (int64_t row = 0; row < tensor.rows; ++row) {
    for (int64_t col = 0; col < tensor.cols; ++col) values->push_back(ElementOf(tensor, row, col));
  }
}

struct FakeLinear : LinearWeight, Packed {
  int64_t in() const override { return spec.in; }
  int64_t out() const override { return spec.epilogue == Epilogue::kSiluMul ? rows / 2 : rows; }
};
struct FakeEmbedding : EmbeddingWeight, Packed {
  EmbeddingSpec embedding;
};
struct FakeNorm : NormWeight, Packed {};
struct FakeRope : RopeTable {
  int64_t max_position() const override { return positions; }
  int64_t positions = 0;
  std::vector<double> frequencies;
};

class FakeBackend : public Backend {
 public:
  const DeviceInfo& info() const override { return info_; }
  absl::Status status() const override { return absl::OkStatus(); }
  DeviceMemory memory() const override { return {}; }
  uint64_t PoolMemory(const StepLimits&, uint64_t) const override { return 0; }

  absl::StatusOr<std::unique_ptr<LinearWeight>> PackLinear(
      const LinearSpec& spec,
      absl::Span<const HostTensor> parts,
      absl::Span<const HostTensor> biases) override {
    auto weight = std::make_unique<FakeLinear>();
    weight->spec = spec;
    weight->cols = spec.in;
    for (const HostTensor& part : parts) {
      CHECK_EQ(part.cols, spec.in);
      weight->rows += part.rows;
      AppendValues(part, &weight->values);
    }
    for (const HostTensor& bias : biases) AppendValues(bias, &weight->biases);
    return weight;
  }
  absl::StatusOr<std::unique_ptr<EmbeddingWeight>> PackEmbedding(const EmbeddingSpec& spec,
                                                                 const HostTensor& table) override {
    CHECK_EQ(table.dtype, spec.dtype);
    auto weight = std::make_unique<FakeEmbedding>();
    weight->embedding = spec;
    AppendValues(table, &weight->values);
    return weight;
  }
  absl::StatusOr<std::unique_ptr<NormWeight>> PackNorm(const HostTensor& tensor) override {
    auto weight = std::make_unique<FakeNorm>();
    CHECK_EQ(tensor.rows, 1);
    AppendValues(tensor, &weight->values);
    return weight;
  }
  absl::StatusOr<std::unique_ptr<RopeTable>> MakeRopeTable(const RopeSpec& spec) override {
    auto table = std::make_unique<FakeRope>();
    table->positions = spec.max_position;
    table->frequencies.assign(spec.inverse_frequencies.begin(), spec.inverse_frequencies.end());
    rope_tables.push_back(table.get());
    return table;
  }
  absl::StatusOr<TensorView> NewActivation(DType dtype, int64_t rows, int64_t cols) override {
    buffers.emplace_back(static_cast<size_t>(rows * cols));
    return TensorView{buffers.back().data(), dtype, rows, cols, cols};
  }

  absl::StatusOr<std::unique_ptr<KvPool>> MakeKvPool(const KvLayout&, int32_t) override {
    return absl::UnimplementedError("fake");
  }
  absl::StatusOr<std::unique_ptr<KvPool>> MakeHostKvPool(const KvLayout&, int32_t) override {
    return absl::UnimplementedError("fake");
  }
  absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(const CommOptions&) override {
    return absl::UnimplementedError("fake");
  }
  absl::Status Configure(const StepLimits&) override { return absl::OkStatus(); }
  void SetLaneToken(int32_t, int32_t) override {}
  void CopyLaneToken(int32_t, int32_t) override {}
  void CopyBlocks(KvPool&, absl::Span<const BlockCopy>) override {}
  void ZeroBlocks(KvPool&, absl::Span<const int32_t>) override {}
  absl::Status StartTransfer(KvPool&, KvPool&, absl::Span<const BlockCopy>) override {
    return absl::UnimplementedError("fake");
  }
  absl::StatusOr<uint64_t> FinishedTransfers() override { return 0; }
  absl::StatusOr<PreparedStep*> Prepare(const StepInput&, const KvPool&) override {
    return absl::UnimplementedError("fake");
  }
  absl::Status Run(PreparedStep&, absl::FunctionRef<absl::Status(LayerOps& ops)>) override {
    return absl::UnimplementedError("fake");
  }
  absl::Status Sample(PreparedStep&,
                      TensorView,
                      absl::Span<const SampleRow>,
                      Communicator&) override {
    return absl::UnimplementedError("fake");
  }
  void OnStepDone(std::function<void()>) override {}
  absl::StatusOr<const StepOutput*> Collect(PreparedStep&) override {
    return absl::UnimplementedError("fake");
  }

  std::vector<FakeRope*> rope_tables;      // in the order they were made
  std::deque<std::vector<float>> buffers;  // NewActivation's memory

 private:
  const DeviceInfo info_ = {.kind = "fake", .description = "a fake device"};
};

// Writes one line per operation: its name, the shapes of its views, the first value of its weight.
class RecordingOps : public LayerOps {
 public:
  void Embed(const EmbeddingWeight& weight, TensorView out) override {
    Add("embed", First<FakeEmbedding>(weight), out);
  }
  void AddNorm(TensorView residual,
               TensorView delta,
               const NormWeight& weight,
               float epsilon,
               TensorView out) override {
    CHECK_EQ(residual.rows, out.rows);
    Add(delta.data == nullptr ? "norm" : "add_norm", First<FakeNorm>(weight), out);
    last_epsilon = epsilon;
  }
  void Linear(TensorView x, const LinearWeight& weight, TensorView out) override {
    CHECK_EQ(x.cols, weight.in());
    CHECK_EQ(out.cols, weight.out());
    CHECK(out.data != x.data);
    Add("linear", First<FakeLinear>(weight), out);
  }
  void AddBias(const LinearWeight& weight, TensorView out) override {
    CHECK_EQ(out.cols, weight.out());
    lines.push_back("bias");
  }
  void RopeAndStoreKv(int layer, TensorView qkv, const RopeTable&, KvPool&, TensorView q) override {
    CHECK_EQ(qkv.rows, q.rows);
    Add(absl::StrCat("rope ", layer), 0, q);
  }
  void Attention(int layer,
                 TensorView q,
                 KvPool&,
                 const AttentionSpec& spec,
                 TensorView out) override {
    CHECK(out.data != q.data);
    Add(absl::StrCat("attention ", layer, " heads ", spec.num_q_heads), 0, out);
    last_scale = spec.scale;
  }
  void Logits(TensorView x, const LinearWeight& weight, TensorView out) override {
    CHECK_EQ(x.cols, weight.in());
    Add("logits", First<FakeLinear>(weight), out);
  }

  void JoinParts(TensorView parts, TensorView out) override {
    for (int64_t row = 0; row < out.rows; ++row) {
      for (int64_t c = 0; c < out.cols; ++c) {
        out.Row<float>(row)[c] = parts.Row<float>(c / parts.cols * out.rows + row)[c % parts.cols];
      }
    }
    Add("join", static_cast<float>(parts.cols), out);
  }

  std::vector<std::string> lines;
  float last_epsilon = 0;
  float last_scale = 0;

 private:
  template <class Fake, class Weight>
  float First(const Weight& weight) {
    return dynamic_cast<const Fake&>(weight).values.at(0);
  }
  void Add(absl::string_view name, float first, TensorView out) {
    lines.push_back(
        absl::StrCat(name, " ", first, " -> ", DTypeName(out.dtype), " ", out.rows, "x", out.cols));
  }
};

}  // namespace pagoda::testing
