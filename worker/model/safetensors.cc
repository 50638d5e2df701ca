#include "worker/model/safetensors.h"

#include <bit>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace pagoda {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensors are used as they lie in the file");

absl::StatusOr<uint64_t> HeaderLength(absl::string_view bytes) {
  uint64_t length;
  if (bytes.size() < sizeof(length)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file has ", bytes.size(), " bytes, fewer than the 8 of a length"));
  }
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > kMaxSafetensorsHeader) {
    return absl::InvalidArgumentError(
        absl::StrCat("the header has ", length, " bytes, the limit is ", kMaxSafetensorsHeader));
  }
  if (length > bytes.size() - sizeof(length)) {
    return absl::InvalidArgumentError(absl::StrCat("the header has ",
                                                   length,
                                                   " bytes, the file only ",
                                                   bytes.size() - sizeof(length),
                                                   " after the length: the file is truncated"));
  }
  return length;
}

}  // namespace

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  const auto named = [&path](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  };
  SafetensorsFile result(std::move(file));
  const absl::string_view bytes = result.file_.bytes();
  const absl::StatusOr<uint64_t> length = HeaderLength(bytes);
  if (!length.ok()) return named(length.status());
  result.data_offset_ = sizeof(uint64_t) + *length;
  absl::StatusOr<std::vector<TensorEntry>> tensors =
      ParseSafetensorsHeader(bytes.substr(sizeof(uint64_t), *length),
                             bytes.size() - result.data_offset_);
  if (!tensors.ok()) return named(tensors.status());
  result.tensors_ = *std::move(tensors);
  RETURN_IF_ERROR(result.file_.CheckUnchanged());
  return result;
}

}  // namespace pagoda
