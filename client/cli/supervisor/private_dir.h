// A directory under /tmp that only this user can enter; removed with what is in it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace pagoda {

class PrivateDir {
 public:
  static absl::StatusOr<std::unique_ptr<PrivateDir>> Make();
  PrivateDir(const PrivateDir&) = delete;
  PrivateDir& operator=(const PrivateDir&) = delete;
  ~PrivateDir();

  const std::string& path() const { return path_; }

 private:
  explicit PrivateDir(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

}  // namespace pagoda
