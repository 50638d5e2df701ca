// A regular file mapped read-only. The mapping lives as long as the object; it may move between
// threads. A file that shrinks while it is mapped would turn a read into SIGBUS: CheckUnchanged()
// compares size, time and the file behind the descriptor with what Open() saw, so that callers ask
// before each larger read and get an error instead.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace pagoda {

class MappedFile {
 public:
  // NotFound when there is none, InvalidArgument when it is no regular file.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::string& path() const { return path_; }
  absl::string_view bytes() const { return {data_, size_}; }

  // FailedPrecondition when the file was truncated, grew or was written since Open().
  absl::Status CheckUnchanged() const;

 private:
  MappedFile() = default;

  std::string path_;
  int fd_ = -1;
  const char* data_ = nullptr;  // null for an empty file
  size_t size_ = 0;             // bytes
  int64_t modified_ns_ = 0;     // modification time at Open()
};

// The whole of a small text file. InvalidArgument when it has more than `limit` bytes.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, size_t limit);

}  // namespace pagoda
