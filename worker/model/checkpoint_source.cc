#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/status.h"
#include "worker/model/checkpoint.h"
#include "worker/model/model_config.h"
#include "worker/model/tensor_source.h"

namespace pagoda {
namespace {

constexpr size_t kNamesInMessage = 4;

std::optional<DType> ComputeDtype(FileDtype dtype) {
  switch (dtype) {
    case FileDtype::kF32:
      return DType::kF32;
    case FileDtype::kBf16:
      return DType::kBf16;
    case FileDtype::kF16:
      return DType::kF16;
    default:
      return std::nullopt;
  }
}

// A tensor's name, and its other name where embeddings are tied and stored as the lm_head.
const StoredTensor* Find(const Checkpoint& checkpoint,
                         const TensorNeed& need,
                         const ArchSpec& arch,
                         const ModelConfig& config) {
  const auto& tensors = checkpoint.tensors();
  auto it = tensors.find(need.name);
  if (it == tensors.end() && config.tie_word_embeddings &&
      need.role == TensorNeed::Role::kEmbedding) {
    it = tensors.find(absl::StrCat(arch.lm_head, ".weight"));
  }
  return it == tensors.end() ? nullptr : &it->second;
}

bool IsIgnored(absl::string_view name, const ArchSpec& arch, const ModelConfig& config) {
  if (config.tie_word_embeddings && name == absl::StrCat(arch.lm_head, ".weight")) return true;
  return std::any_of(arch.ignored_suffixes.begin(),
                     arch.ignored_suffixes.end(),
                     [name](const char* suffix) { return absl::EndsWith(name, suffix); });
}

// What does not fit, collected so that one message names it all.
class Mismatch {
 public:
  void Add(const std::string& item) { items_.push_back(item); }

  // "3 missing tensors: "a", "b", …"
  std::string Text(absl::string_view kind) const {
    const size_t shown = std::min(items_.size(), kNamesInMessage);
    return absl::StrCat(items_.size(),
                        " ",
                        kind,
                        items_.size() == 1 ? " tensor: " : " tensors: ",
                        absl::StrJoin(items_.begin(), items_.begin() + shown, ", "),
                        items_.size() > shown ? ", …" : "");
  }
  bool empty() const { return items_.empty(); }

 private:
  std::vector<std::string> items_;
};

class CheckpointSource : public TensorSource {
 public:
  explicit CheckpointSource(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {}

  absl::Status Match(const ArchSpec& arch, const ModelConfig& config);

  absl::StatusOr<SourceTensor> Get(const std::string& name) override {
    const auto it = needed_.find(name);
    CHECK(it != needed_.end()) << name;
    const StoredTensor& tensor = *it->second;
    RETURN_IF_ERROR(checkpoint_.CheckUnchanged(tensor));
    const uint64_t key =
        Hash64(absl::StrCat(name, " ", FileDtypeName(tensor.dtype), ShapeText(tensor.shape)));
    hash_ ^= Hash64(tensor.bytes, key);
    bytes_read_ += tensor.bytes.size();
    SourceTensor result;
    result.view.data = tensor.bytes.data();
    result.view.dtype = *ComputeDtype(tensor.dtype);
    result.view.rows = tensor.shape.size() == 1 ? 1 : tensor.shape[0];
    result.view.cols = tensor.shape.back();
    result.view.row_stride = result.view.cols;
    return result;
  }

  uint64_t bytes_total() const override { return bytes_total_; }
  uint64_t bytes_read() const override { return bytes_read_; }

  absl::StatusOr<uint64_t> Finish() override {
    for (const auto& [name, tensor] : needed_) RETURN_IF_ERROR(checkpoint_.CheckUnchanged(*tensor));
    return hash_;
  }

  std::string stored_dtype() const override { return DTypeName(embedding_dtype_); }

 private:
  Checkpoint checkpoint_;
  std::map<std::string, const StoredTensor*> needed_;  // into checkpoint_
  DType embedding_dtype_ = DType::kF32;
  uint64_t bytes_total_ = 0;
  uint64_t bytes_read_ = 0;
  uint64_t hash_ = 0;  // exclusive or over the tensors read: no order
};

absl::Status CheckpointSource::Match(const ArchSpec& arch, const ModelConfig& config) {
  Mismatch missing, wrong, unexpected;
  for (const TensorNeed& need : NeededTensors(arch, config)) {
    const StoredTensor* tensor = Find(checkpoint_, need, arch, config);
    if (tensor == nullptr) {
      missing.Add(QuotedName(need.name));
      continue;
    }
    needed_.emplace(need.name, tensor);
    bytes_total_ += tensor->bytes.size();
    const std::optional<DType> dtype = ComputeDtype(tensor->dtype);
    if (tensor->shape != need.shape || !dtype.has_value()) {
      wrong.Add(absl::StrCat(QuotedName(need.name),
                             " is ",
                             FileDtypeName(tensor->dtype),
                             ShapeText(tensor->shape),
                             ", expected BF16, F16 or F32",
                             ShapeText(need.shape)));
    } else if (need.role == TensorNeed::Role::kEmbedding) {
      embedding_dtype_ = *dtype;
    }
  }
  for (const auto& [name, tensor] : checkpoint_.tensors()) {
    if (!needed_.contains(name) && !IsIgnored(name, arch, config)) unexpected.Add(QuotedName(name));
  }
  std::vector<std::string> problems;
  if (!missing.empty()) problems.push_back(missing.Text("missing"));
  if (!wrong.empty()) problems.push_back(wrong.Text("wrong"));
  if (!unexpected.empty()) problems.push_back(unexpected.Text("unexpected"));
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the weights do not fit config.json: ", absl::StrJoin(problems, "; ")));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorSource>> OpenCheckpointSource(const std::string& directory,
                                                                   const ArchSpec& arch,
                                                                   const ModelConfig& config) {
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(directory));
  auto source = std::make_unique<CheckpointSource>(std::move(checkpoint));
  RETURN_IF_ERROR(source->Match(arch, config));
  return source;
}

}  // namespace pagoda
