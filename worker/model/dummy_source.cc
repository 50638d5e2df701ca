#include <cmath>
#include <map>
#include <utility>

#include "common/check.h"
#include "common/hash.h"
#include "common/philox.h"
#include "worker/model/model_config.h"
#include "worker/model/tensor_source.h"

namespace pagoda {
namespace {

int64_t Elements(const TensorNeed& need) {
  int64_t count = 1;
  for (const int64_t dim : need.shape) count *= dim;
  return count;
}

// Uniform in (middle - half, middle + half).
void FillUniform(uint64_t key, float middle, float half, int64_t count, float* out) {
  const std::array<uint32_t, 2> words = {static_cast<uint32_t>(key),
                                         static_cast<uint32_t>(key >> 32)};
  for (int64_t i = 0; i < count; i += 4) {
    const uint64_t block = static_cast<uint64_t>(i) / 4;
    const std::array<uint32_t, 4> random =
        Philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0}, words);
    for (int64_t j = 0; j < 4 && i + j < count; ++j) {
      out[i + j] = middle + half * (2 * UniformOpen(random[j]) - 1);
    }
  }
}

class DummySource : public TensorSource {
 public:
  explicit DummySource(std::vector<TensorNeed> needs) {
    for (TensorNeed& need : needs) {
      bytes_total_ += static_cast<uint64_t>(Elements(need)) * sizeof(float);
      std::string name = need.name;
      needs_.emplace(std::move(name), std::move(need));
    }
  }

  absl::StatusOr<SourceTensor> Get(const std::string& name) override {
    const auto it = needs_.find(name);
    CHECK(it != needs_.end()) << name;
    const TensorNeed& need = it->second;
    const int64_t count = Elements(need);
    SourceTensor result;
    result.storage = std::make_unique_for_overwrite<float[]>(count);
    result.view.data = result.storage.get();
    result.view.dtype = DType::kF32;
    result.view.rows = need.shape.size() == 1 ? 1 : need.shape[0];
    result.view.cols = need.shape.back();
    result.view.row_stride = result.view.cols;
    float middle = 0, half = 0.1f;
    if (need.role == TensorNeed::Role::kNorm) {
      middle = 1;
    } else if (need.role != TensorNeed::Role::kBias) {
      half = static_cast<float>(std::sqrt(3.0 / static_cast<double>(result.view.cols)));
    }
    FillUniform(Hash64(name), middle, half, count, result.storage.get());
    bytes_read_ += static_cast<uint64_t>(count) * sizeof(float);
    return result;
  }

  uint64_t bytes_total() const override { return bytes_total_; }
  uint64_t bytes_read() const override { return bytes_read_; }

  // The configuration, which the fingerprint holds anyway, determines every tensor.
  absl::StatusOr<uint64_t> Finish() override { return Hash64("dummy"); }

  std::string stored_dtype() const override { return DTypeName(DType::kF32); }

 private:
  std::map<std::string, TensorNeed> needs_;
  uint64_t bytes_total_ = 0;
  uint64_t bytes_read_ = 0;
};

}  // namespace

std::unique_ptr<TensorSource> MakeDummySource(const ArchSpec& arch, const ModelConfig& config) {
  return std::make_unique<DummySource>(NeededTensors(arch, config));
}

}  // namespace pagoda
