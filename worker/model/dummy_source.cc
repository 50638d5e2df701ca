#include <algorithm>
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

int64_t ShareElements(const TensorNeed& need) {
  int64_t count = 1;
  for (const int64_t dim : need.shape) count *= dim;
  return count / need.share.extent * need.share.size();
}

// Elements [begin, end) of a tensor, uniform in (middle - half, middle + half).
struct Uniform {
  std::array<uint32_t, 2> key;
  float middle = 0;
  float half = 0.1f;

  void Fill(int64_t begin, int64_t end, float* out) const {
    for (int64_t i = begin / 4 * 4; i < end; i += 4) {
      const uint64_t block = static_cast<uint64_t>(i) / 4;
      const std::array<uint32_t, 4> random =
          Philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0}, key);
      for (int64_t j = std::max(i, begin); j < std::min(i + 4, end); ++j) {
        out[j - begin] = middle + half * (2 * UniformOpen(random[j - i]) - 1);
      }
    }
  }
};

class DummySource : public TensorSource {
 public:
  explicit DummySource(std::vector<TensorNeed> needs) {
    for (TensorNeed& need : needs) {
      bytes_total_ += static_cast<uint64_t>(ShareElements(need)) * sizeof(float);
      std::string name = need.name;
      needs_.emplace(std::move(name), std::move(need));
    }
  }

  absl::StatusOr<SourceTensor> Get(const std::string& name) override {
    const auto it = needs_.find(name);
    CHECK(it != needs_.end()) << name;
    const TensorNeed& need = it->second;
    const TensorShare& share = need.share;
    const int64_t cols = need.shape.back();
    const bool by_rows = need.shape.size() == 2 && share.axis == TensorShare::Axis::kOutputs;
    SourceTensor result;
    result.storage = std::make_unique_for_overwrite<float[]>(ShareElements(need));
    result.view.data = result.storage.get();
    result.view.dtype = DType::kF32;
    result.view.rows = need.shape.size() == 1 ? 1 : by_rows ? share.size() : need.shape[0];
    result.view.cols = by_rows ? cols : share.size();
    result.view.row_stride = result.view.cols;
    const uint64_t key = Hash64(name);
    Uniform uniform = {{static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)}};
    if (need.role == TensorNeed::Role::kNorm) {
      uniform.middle = 1;
    } else if (need.role != TensorNeed::Role::kBias) {
      uniform.half = static_cast<float>(std::sqrt(3.0 / static_cast<double>(cols)));
    }
    const int64_t first_row = by_rows ? share.begin() : 0;
    const int64_t first_col = by_rows ? 0 : share.begin();
    for (int64_t row = 0; row < result.view.rows; ++row) {
      const int64_t begin = (first_row + row) * cols + first_col;
      uniform.Fill(begin, begin + result.view.cols, &result.storage[row * result.view.cols]);
    }
    bytes_read_ += static_cast<uint64_t>(ShareElements(need)) * sizeof(float);
    return result;
  }

  uint64_t bytes_total() const override { return bytes_total_; }
  uint64_t bytes_read() const override { return bytes_read_; }

  // The configuration, which the fingerprint holds anyway, determines every tensor.
  absl::StatusOr<TensorHashes> Finish() override { return TensorHashes{.whole = Hash64("dummy")}; }

  std::string stored_dtype() const override { return DTypeName(DType::kF32); }

 private:
  std::map<std::string, TensorNeed> needs_;
  uint64_t bytes_total_ = 0;
  uint64_t bytes_read_ = 0;
};

}  // namespace

std::unique_ptr<TensorSource> MakeDummySource(const ArchSpec& arch,
                                              const ModelConfig& config,
                                              const ShardSpec& shard) {
  return std::make_unique<DummySource>(NeededTensors(arch, config, shard));
}

}  // namespace pagoda
