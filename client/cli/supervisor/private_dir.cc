#include "client/cli/supervisor/private_dir.h"

#include <stdlib.h>
#include <string.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace pagoda {

absl::StatusOr<std::unique_ptr<PrivateDir>> PrivateDir::Make() {
  std::string path = "/tmp/pagoda-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("no private directory under /tmp: ", strerror(errno)));
  }
  return std::unique_ptr<PrivateDir>(new PrivateDir(std::move(path)));
}

PrivateDir::~PrivateDir() {
  std::error_code ignored;  // nothing to be done about it
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace pagoda
