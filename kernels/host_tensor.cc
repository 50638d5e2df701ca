#include "kernels/host_tensor.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace pagoda {

absl::Status CheckHostTensor(const HostTensor& tensor,
                             int64_t rows,
                             int64_t cols,
                             absl::string_view what) {
  const bool shape_ok = (rows < 0 || tensor.rows == rows) && (cols < 0 || tensor.cols == cols);
  const bool size_ok = tensor.rows > 0 && tensor.cols > 0 && tensor.rows <= kMaxDimension &&
                       tensor.cols <= kMaxDimension && tensor.row_stride >= tensor.cols;
  if (shape_ok && size_ok && tensor.data != nullptr) return absl::OkStatus();
  const auto wanted = [](int64_t n) { return n < 0 ? std::string("any") : absl::StrCat(n); };
  return absl::InvalidArgumentError(absl::StrCat(what,
                                                 " [",
                                                 tensor.rows,
                                                 ", ",
                                                 tensor.cols,
                                                 "] with row stride ",
                                                 tensor.row_stride,
                                                 ": expected [",
                                                 wanted(rows),
                                                 ", ",
                                                 wanted(cols),
                                                 "], dimensions of 1 to ",
                                                 kMaxDimension));
}

}  // namespace pagoda
