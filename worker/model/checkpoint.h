// All tensors of a model directory: model.safetensors, or the files that
// model.safetensors.index.json lists. Immutable once opened; reading is safe from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/model/safetensors.h"

namespace pagoda {

// One tensor and where its elements are.
struct StoredTensor {
  FileDtype dtype;
  std::vector<int64_t> shape;
  absl::string_view bytes;  // in the mapped file, any alignment
  size_t file;              // its number in Checkpoint
};

class Checkpoint {
 public:
  // `directory` holds model.safetensors, which wins, or the index and its files. NotFound when
  // neither or a listed file is missing; InvalidArgument when a file is corrupt or the index and
  // the files disagree on who holds what.
  static absl::StatusOr<Checkpoint> Open(const std::string& directory);

  // By name, ascending.
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

  uint64_t tensor_bytes() const { return tensor_bytes_; }

  // FailedPrecondition when the file that holds `tensor` was changed since Open. Ask before reading
  // its bytes.
  absl::Status CheckUnchanged(const StoredTensor& tensor) const {
    return files_[tensor.file].file().CheckUnchanged();
  }

 private:
  Checkpoint() = default;
  absl::Status OpenIndexed(const std::string& directory, absl::string_view index_json);
  // `index` maps tensors to files; `file_names` are those of files_.
  absl::Status CompareWithIndex(const std::map<std::string, std::string>& index,
                                const std::vector<std::string>& file_names) const;
  absl::Status AddFile(const std::string& path);
  absl::Status AddTensor(const TensorEntry& entry);

  std::vector<SafetensorsFile> files_;
  std::map<std::string, StoredTensor> tensors_;
  uint64_t tensor_bytes_ = 0;
};

}  // namespace pagoda
