// A backend that computes nothing and writes down what reaches the device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/backend.h"

namespace pagoda::testing {

class RecordingPool final : public KvPool {
 public:
  const KvLayout& layout() const override { return layout_; }
  int32_t num_blocks() const override { return 1; }
  void* block(int32_t) override { return nullptr; }

 private:
  KvLayout layout_;
};

class RecordingBackend final : public Backend {
 public:
  explicit RecordingBackend(DeviceMemory memory = {}) : memory_(memory) {}

  // "token 3=17", "lane 1<-0", "copy 4>5", "zero 6 7"
  std::vector<std::string> calls;

  const DeviceInfo& info() const override { return info_; }
  absl::Status status() const override { return absl::OkStatus(); }
  DeviceMemory memory() const override { return memory_; }
  uint64_t PoolMemory(const StepLimits&, uint64_t reserved) const override {
    return memory_.available - reserved;
  }

  absl::StatusOr<std::unique_ptr<LinearWeight>> PackLinear(const LinearSpec&,
                                                           absl::Span<const HostTensor>,
                                                           absl::Span<const HostTensor>) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::unique_ptr<EmbeddingWeight>> PackEmbedding(const EmbeddingSpec&,
                                                                 const HostTensor&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::unique_ptr<NormWeight>> PackNorm(const HostTensor&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::unique_ptr<RopeTable>> MakeRopeTable(const RopeSpec&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::unique_ptr<KvPool>> MakeKvPool(const KvLayout&, int32_t) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::unique_ptr<KvPool>> MakeHostKvPool(const KvLayout&, int32_t) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::unique_ptr<Rendezvous>> OpenRendezvous(const CommOptions&) override {
    return absl::UnimplementedError("");
  }
  absl::Status Configure(const StepLimits&) override { return absl::OkStatus(); }
  absl::StatusOr<TensorView> NewActivation(DType, int64_t, int64_t) override {
    return absl::UnimplementedError("");
  }

  void SetLaneToken(int32_t lane, int32_t token) override {
    calls.push_back(absl::StrCat("token ", lane, "=", token));
  }
  void CopyLaneToken(int32_t from, int32_t to) override {
    calls.push_back(absl::StrCat("lane ", to, "<-", from));
  }
  void CopyBlocks(KvPool&, absl::Span<const BlockCopy> copies) override {
    for (const BlockCopy& copy : copies) {
      calls.push_back(absl::StrCat("copy ", copy.source, ">", copy.destination));
    }
  }
  void ZeroBlocks(KvPool&, absl::Span<const int32_t> blocks) override {
    std::string call = "zero";
    for (int32_t block : blocks) absl::StrAppend(&call, " ", block);
    calls.push_back(call);
  }

  absl::Status StartTransfer(KvPool&, KvPool&, absl::Span<const BlockCopy>) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<uint64_t> FinishedTransfers() override { return 0; }

  absl::StatusOr<PreparedStep*> Prepare(const StepInput&, const KvPool&) override {
    return absl::UnimplementedError("");
  }
  absl::Status Run(PreparedStep&, absl::FunctionRef<absl::Status(LayerOps&)>) override {
    return absl::UnimplementedError("");
  }
  absl::Status Sample(PreparedStep&,
                      TensorView,
                      absl::Span<const SampleRow>,
                      Communicator&) override {
    return absl::UnimplementedError("");
  }
  void OnStepDone(std::function<void()>) override {}
  absl::StatusOr<const StepOutput*> Collect(PreparedStep&) override {
    return absl::UnimplementedError("");
  }

 private:
  const DeviceInfo info_ = {.kind = "recording", .description = "a recording device"};
  const DeviceMemory memory_;
};

}  // namespace pagoda::testing
