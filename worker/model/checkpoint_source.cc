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

HostTensor WholeView(const StoredTensor& tensor) {
  HostTensor view;
  view.data = tensor.bytes.data();
  view.dtype = *ComputeDtype(tensor.dtype);
  view.rows = tensor.shape.size() == 1 ? 1 : tensor.shape[0];
  view.cols = tensor.shape.back();
  view.row_stride = view.cols;
  return view;
}

// Rows or columns [begin, end).
HostTensor Slice(const HostTensor& whole, bool rows, int64_t begin, int64_t end) {
  HostTensor slice = whole;
  (rows ? slice.rows : slice.cols) = end - begin;
  slice.data = static_cast<const char*>(whole.data) +
               begin * (rows ? whole.row_stride : 1) * DTypeSize(whole.dtype);
  return slice;
}

uint64_t HashOf(const HostTensor& view, uint64_t hash) {
  const char* row = static_cast<const char*>(view.data);
  const size_t size = DTypeSize(view.dtype);
  if (view.row_stride == view.cols) return Hash64({row, view.rows * view.cols * size}, hash);
  for (int64_t i = 0; i < view.rows; ++i, row += view.row_stride * size) {
    hash = Hash64({row, view.cols * size}, hash);
  }
  return hash;
}

class CheckpointSource : public TensorSource {
 public:
  explicit CheckpointSource(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {}

  absl::Status Match(const ArchSpec& arch, const ModelConfig& config, const ShardSpec& shard);

  absl::StatusOr<SourceTensor> Get(const std::string& name) override {
    const auto it = needed_.find(name);
    CHECK(it != needed_.end()) << name;
    const StoredTensor& tensor = *it->second.tensor;
    const TensorShare& share = it->second.share;
    RETURN_IF_ERROR(checkpoint_.CheckUnchanged(tensor));
    const HostTensor whole = WholeView(tensor);
    const bool rows = tensor.shape.size() == 2 && share.axis == TensorShare::Axis::kOutputs;
    const std::string identity =
        absl::StrCat(name, " ", FileDtypeName(tensor.dtype), ShapeText(tensor.shape));
    const bool hashed = share.whole() || !share.repeated;
    for (int64_t i = share.first; hashed && i < share.first + share.count; ++i) {
      const HostTensor piece = Slice(whole, rows, share.PieceBegin(i), share.PieceBegin(i + 1));
      const uint64_t key = Hash64(absl::StrCat(identity, " ", i, "/", share.pieces));
      (share.whole() ? hashes_.whole : hashes_.divided) ^= HashOf(piece, key);
    }
    SourceTensor result;
    result.view = Slice(whole, rows, share.begin(), share.end());
    bytes_read_ += Bytes(tensor, share);
    return result;
  }

  uint64_t bytes_total() const override { return bytes_total_; }
  uint64_t bytes_read() const override { return bytes_read_; }

  absl::StatusOr<TensorHashes> Finish() override {
    for (const auto& [name, needed] : needed_) {
      RETURN_IF_ERROR(checkpoint_.CheckUnchanged(*needed.tensor));
    }
    return hashes_;
  }

  std::string stored_dtype() const override { return DTypeName(embedding_dtype_); }

 private:
  struct Needed {
    const StoredTensor* tensor;  // of checkpoint_
    TensorShare share;
  };

  static uint64_t Bytes(const StoredTensor& tensor, const TensorShare& share) {
    return tensor.bytes.size() / static_cast<uint64_t>(share.extent) *
           static_cast<uint64_t>(share.size());
  }

  Checkpoint checkpoint_;
  std::map<std::string, Needed> needed_;
  DType embedding_dtype_ = DType::kF32;
  uint64_t bytes_total_ = 0;
  uint64_t bytes_read_ = 0;
  TensorHashes hashes_;  // exclusive or over what was read: no order
};

absl::Status CheckpointSource::Match(const ArchSpec& arch,
                                     const ModelConfig& config,
                                     const ShardSpec& shard) {
  Mismatch missing, wrong, unexpected;
  for (const TensorNeed& need : NeededTensors(arch, config, shard)) {
    const StoredTensor* tensor = Find(checkpoint_, need, arch, config);
    if (tensor == nullptr) {
      missing.Add(QuotedName(need.name));
      continue;
    }
    needed_.emplace(need.name, Needed{tensor, need.share});
    bytes_total_ += Bytes(*tensor, need.share);
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
                                                                   const ModelConfig& config,
                                                                   const ShardSpec& shard) {
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(directory));
  auto source = std::make_unique<CheckpointSource>(std::move(checkpoint));
  RETURN_IF_ERROR(source->Match(arch, config, shard));
  return source;
}

}  // namespace pagoda
