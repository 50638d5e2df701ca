#include "worker/model/checkpoint.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/model/json_file.h"
#include "worker/model/mapped_file.h"

namespace pagoda {
namespace {

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr size_t kMaxIndexBytes = 64 << 20;
constexpr size_t kMaxFiles = 4096;

using WeightMap = std::map<std::string, std::string>;

// A file name of the index must stay inside the model's directory.
bool IsPlainFileName(absl::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == absl::string_view::npos && name.find('\0') == absl::string_view::npos;
}

absl::StatusOr<WeightMap> ParseIndex(absl::string_view text) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(kIndexFile, text));
  JsonFields fields(kIndexFile, json);
  const nlohmann::json* map = fields.Object("weight_map");
  RETURN_IF_ERROR(fields.status());
  if (map == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(kIndexFile, ": field \"weight_map\" is missing"));
  }
  WeightMap result;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !IsPlainFileName(file.get_ref<const std::string&>())) {
      return absl::InvalidArgumentError(absl::StrCat(kIndexFile,
                                                     ": weight_map puts ",
                                                     QuotedName(tensor),
                                                     " into no plain file name"));
    }
    result.emplace(tensor, file.get_ref<const std::string&>());
  }
  return result;
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& directory) {
  Checkpoint checkpoint;
  const absl::Status single = checkpoint.AddFile(absl::StrCat(directory, "/", kSingleFile));
  if (single.ok()) return checkpoint;
  if (!absl::IsNotFound(single)) return single;
  const absl::StatusOr<std::string> index =
      ReadSmallFile(absl::StrCat(directory, "/", kIndexFile), kMaxIndexBytes);
  if (absl::IsNotFound(index.status())) {
    return absl::NotFoundError(absl::StrCat(directory,
                                            " holds no safetensors weights: neither ",
                                            kSingleFile,
                                            " nor ",
                                            kIndexFile));
  }
  RETURN_IF_ERROR(index.status());
  RETURN_IF_ERROR(checkpoint.OpenIndexed(directory, *index));
  return checkpoint;
}

absl::Status Checkpoint::OpenIndexed(const std::string& directory, absl::string_view index_json) {
  absl::StatusOr<WeightMap> map = ParseIndex(index_json);
  if (!map.ok()) {
    return absl::Status(map.status().code(), absl::StrCat(directory, "/", map.status().message()));
  }
  std::set<std::string> names;
  for (const auto& [tensor, file] : *map) names.insert(file);
  if (names.size() > kMaxFiles) {
    return absl::InvalidArgumentError(absl::StrCat(directory,
                                                   "/",
                                                   kIndexFile,
                                                   " lists ",
                                                   names.size(),
                                                   " files, the limit is ",
                                                   kMaxFiles));
  }
  std::vector<std::string> file_names(names.begin(), names.end());
  for (const std::string& name : file_names) {
    RETURN_IF_ERROR(AddFile(absl::StrCat(directory, "/", name)));
  }
  absl::Status agrees = CompareWithIndex(*map, file_names);
  if (agrees.ok()) return agrees;
  return absl::Status(agrees.code(), absl::StrCat(directory, "/", agrees.message()));
}

absl::Status Checkpoint::CompareWithIndex(const WeightMap& map,
                                          const std::vector<std::string>& file_names) const {
  for (const auto& [tensor, file] : map) {
    const auto it = tensors_.find(tensor);
    if (it == tensors_.end() || file_names[it->second.file] != file) {
      return absl::InvalidArgumentError(absl::StrCat(file,
                                                     " lacks the tensor ",
                                                     QuotedName(tensor),
                                                     " that ",
                                                     kIndexFile,
                                                     " says it holds"));
    }
  }
  for (const auto& [name, tensor] : tensors_) {
    if (map.contains(name)) continue;
    return absl::InvalidArgumentError(absl::StrCat(file_names[tensor.file],
                                                   " holds the tensor ",
                                                   QuotedName(name),
                                                   " that ",
                                                   kIndexFile,
                                                   " does not list"));
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::AddFile(const std::string& path) {
  ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path));
  files_.push_back(std::move(file));
  for (const TensorEntry& entry : files_.back().tensors()) RETURN_IF_ERROR(AddTensor(entry));
  return absl::OkStatus();
}

absl::Status Checkpoint::AddTensor(const TensorEntry& entry) {
  const SafetensorsFile& file = files_.back();
  const auto [it, added] = tensors_.emplace(entry.name,
                                            StoredTensor{.dtype = entry.dtype,
                                                         .shape = entry.shape,
                                                         .bytes = file.Bytes(entry),
                                                         .file = files_.size() - 1});
  if (!added) {
    return absl::InvalidArgumentError(absl::StrCat("the tensor ",
                                                   QuotedName(entry.name),
                                                   " is in ",
                                                   file.file().path(),
                                                   " and in ",
                                                   files_[it->second.file].file().path()));
  }
  tensor_bytes_ += it->second.bytes.size();
  return absl::OkStatus();
}

}  // namespace pagoda
