// Reader of one safetensors file: 8 bytes little-endian header length, a JSON object, the data.
// The file is untrusted: every number is checked before it is used, and no bytes, however wrong,
// crash or make us allocate more than a small multiple of the header. Values once opened are
// immutable and may be read from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/model/mapped_file.h"

namespace pagoda {

// The element types whose size is a whole number of bytes.
enum class FileDtype : uint8_t {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kI16,
  kU16,
  kF16,
  kBf16,
  kI32,
  kU32,
  kF32,
  kF64,
  kI64,
  kU64,
  kC64,
};

absl::string_view FileDtypeName(FileDtype dtype);  // as the file spells it: "BF16"
int FileDtypeBytes(FileDtype dtype);

struct TensorEntry {
  std::string name;
  FileDtype dtype;
  std::vector<int64_t> shape;
  uint64_t begin;  // byte range in the data section
  uint64_t end;
};

// A name from the file, fit for a message: escaped, cut to 200 bytes, quoted.
std::string QuotedName(absl::string_view name);

// "[2, 3]"
std::string ShapeText(const std::vector<int64_t>& shape);

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // bytes
inline constexpr size_t kMaxTensorDims = 8;

// Checks a header against the size of the data section; the entries come back in the order of their
// data. They cover the section exactly: sorted, no gap, no overlap. InvalidArgument says which
// tensor is wrong and how.
absl::StatusOr<std::vector<TensorEntry>> ParseSafetensorsHeader(absl::string_view header,
                                                                uint64_t data_bytes);

class SafetensorsFile {
 public:
  // Errors name the file.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const MappedFile& file() const { return file_; }
  const std::vector<TensorEntry>& tensors() const { return tensors_; }

  // The tensor's elements, row-major, little-endian, not necessarily aligned.
  // REQUIRES: `entry` is one of tensors().
  absl::string_view Bytes(const TensorEntry& entry) const {
    return file_.bytes().substr(data_offset_ + entry.begin, entry.end - entry.begin);
  }

 private:
  explicit SafetensorsFile(MappedFile file) : file_(std::move(file)) {}

  MappedFile file_;
  uint64_t data_offset_ = 0;
  std::vector<TensorEntry> tensors_;
};

}  // namespace pagoda
