#include "kernels/linear_spec.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/host_tensor.h"

namespace pagoda {

int RowSlices(int64_t k) {
  for (int slices = kMaxRowSlices; slices > 1; slices /= 2) {
    if (k % (int64_t{kDotStep} * slices) == 0) return slices;
  }
  return 1;
}

absl::Status CheckLinear(const LinearSpec& spec,
                         absl::Span<const HostTensor> parts,
                         absl::Span<const HostTensor> biases) {
  if (spec.dtype != DType::kF32 && spec.dtype != DType::kBf16) {
    return absl::UnimplementedError(
        absl::StrCat("linear in ", DTypeName(spec.dtype), ": expected float32 or bfloat16"));
  }
  if (parts.empty()) return absl::InvalidArgumentError("linear without parts");
  for (const HostTensor& part : parts) {
    RETURN_IF_ERROR(CheckHostTensor(part, -1, spec.in, "linear weight"));
  }
  if (spec.epilogue == Epilogue::kSiluMul &&
      (parts.size() != 2 || parts[0].rows != parts[1].rows)) {
    return absl::InvalidArgumentError("silu-mul needs two parts of equal size, gate and up");
  }
  if (!biases.empty() && biases.size() != parts.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(biases.size(), " biases for ", parts.size(), " parts"));
  }
  for (size_t i = 0; i < biases.size(); ++i) {
    RETURN_IF_ERROR(CheckHostTensor(biases[i], 1, parts[i].rows, "linear bias"));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> LocalSlices(const LinearSpec& spec) {
  if (spec.partition == Partition::kColumn) return 1;
  if (spec.tp_size < 1) {
    return absl::InvalidArgumentError(absl::StrCat("tp_size ", spec.tp_size));
  }
  const int slices = RowSlices(spec.in * spec.tp_size);
  if (slices % spec.tp_size != 0) {
    return absl::InvalidArgumentError(absl::StrCat("a row-parallel linear over ",
                                                   spec.in * spec.tp_size,
                                                   " inputs has ",
                                                   slices,
                                                   " slices, which ",
                                                   spec.tp_size,
                                                   " ranks cannot divide"));
  }
  return slices / spec.tp_size;
}

}  // namespace pagoda
