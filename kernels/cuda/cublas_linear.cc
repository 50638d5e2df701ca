#include "kernels/cuda/cublas_linear.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status.h"
#include "kernels/cuda/cublas_ops.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/status.h"

namespace pagoda::cuda {
namespace {

constexpr size_t kWorkspace = size_t{32} << 20;  // what NVIDIA names for Hopper
constexpr int64_t kAlignment = 128;              // elements

int64_t Stride(int64_t columns) { return (columns + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

absl::StatusOr<std::unique_ptr<CublasLinear>> CublasLinear::Make() {
  ASSIGN_OR_RETURN(const CublasApi* const api, LoadCublas());
  auto linear = std::make_unique<CublasLinear>(*api);
  RETURN_IF_ERROR(linear->Open());
  return linear;
}

// Matrices are by column there: with y, x and the weight by row, y' = weight' x', all of one type.
absl::Status CublasLinear::Open() {
  cublasLtHandle_t handle = nullptr;
  RETURN_IF_ERROR(ToStatus(api_.Create(&handle)));
  handle_.reset(handle);
  cublasLtMatmulDesc_t multiply = nullptr;
  RETURN_IF_ERROR(ToStatus(api_.MatmulDescCreate(&multiply, CUBLAS_COMPUTE_32F, CUDA_R_32F)));
  multiply_.reset(multiply);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  RETURN_IF_ERROR(ToStatus(api_.MatmulDescSetAttribute(multiply,
                                                       CUBLASLT_MATMUL_DESC_TRANSA,
                                                       &transposed,
                                                       sizeof(transposed))));
  cublasLtMatmulPreference_t preference = nullptr;
  RETURN_IF_ERROR(ToStatus(api_.MatmulPreferenceCreate(&preference)));
  preference_.reset(preference);
  RETURN_IF_ERROR(
      ToStatus(api_.MatmulPreferenceSetAttribute(preference,
                                                 CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &kWorkspace,
                                                 sizeof(kWorkspace))));
  ASSIGN_OR_RETURN(workspace_, DeviceBuffer::Make(kWorkspace));
  return absl::OkStatus();
}

absl::Status CublasLinear::ToStatus(cublasStatus_t status) const {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  const std::string message = absl::StrCat("cuBLASLt: ", api_.GetStatusString(status));
  switch (status) {
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return absl::UnimplementedError(message);
    case CUBLAS_STATUS_ALLOC_FAILED:
      return absl::ResourceExhaustedError(message);
    case CUBLAS_STATUS_INVALID_VALUE:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

void CublasLinear::Add(const PackedLinear& weight) {
  CHECK(weight.dtype == DType::kBf16 && weight.slices == 1);
  most_in_ = std::max(most_in_, weight.in);
  if (weight.epilogue == Epilogue::kSiluMul) {
    most_columns_ = std::max(most_columns_, weight.columns);
  }
}

size_t CublasLinear::Bytes(int32_t tokens, int32_t logits_rows) const {
  return size_t{2} * logits_rows * Stride(most_in_) + sizeof(float) * tokens * most_columns_;
}

absl::Status CublasLinear::Reserve(int32_t tokens, int32_t logits_rows) {
  plans_.clear();
  ASSIGN_OR_RETURN(gathered_, DeviceBuffer::Make(size_t{2} * logits_rows * Stride(most_in_)));
  ASSIGN_OR_RETURN(columns_, DeviceBuffer::Make(sizeof(float) * tokens * most_columns_));
  return absl::OkStatus();
}

absl::StatusOr<CublasLinear::Layout> CublasLinear::MakeLayout(cudaDataType type,
                                                              uint64_t rows,
                                                              uint64_t columns,
                                                              int64_t ld) {
  cublasLtMatrixLayout_t layout = nullptr;
  RETURN_IF_ERROR(ToStatus(api_.MatrixLayoutCreate(&layout, type, rows, columns, ld)));
  return Layout(layout, {&api_});
}

absl::StatusOr<const CublasLinear::Plan*> CublasLinear::PlanFor(const Shape& shape) {
  const auto known = plans_.find(shape);
  if (known != plans_.end()) return &known->second;
  const auto [columns, depth, k, rows, x_stride, y_stride] = shape;
  ASSIGN_OR_RETURN(Layout weight, MakeLayout(CUDA_R_16BF, k, columns, depth));
  ASSIGN_OR_RETURN(Layout x, MakeLayout(CUDA_R_16BF, k, rows, x_stride));
  ASSIGN_OR_RETURN(Layout y, MakeLayout(CUDA_R_32F, columns, rows, y_stride));
  cublasLtMatmulHeuristicResult_t found = {};
  int count = 0;
  RETURN_IF_ERROR(ToStatus(api_.MatmulAlgoGetHeuristic(handle_.get(),
                                                       multiply_.get(),
                                                       weight.get(),
                                                       x.get(),
                                                       y.get(),
                                                       y.get(),
                                                       preference_.get(),
                                                       1,
                                                       &found,
                                                       &count)));
  if (count == 0) {
    return absl::UnimplementedError(
        absl::StrCat("cuBLASLt cannot multiply [", rows, ", ", k, "] by [", k, ", ", columns, "]"));
  }
  const auto made =
      plans_.emplace(shape, Plan{std::move(weight), std::move(x), std::move(y), found.algo});
  return &made.first->second;
}

absl::Status CublasLinear::Run(const LinearArgs& args, cudaStream_t stream) {
  const PackedLinear& weight = args.weight;
  const bool fused = weight.epilogue == Epilogue::kSiluMul;
  const void* x = args.x;
  int64_t x_stride = args.x_stride;
  if (args.x_row != nullptr) {
    x = gathered_.data();
    x_stride = Stride(weight.in);
    CHECK_LE(size_t{2} * args.rows * x_stride, gathered_.bytes());
    RETURN_IF_ERROR(cuda::ToStatus(RunGatherRows({.x = args.x,
                                                  .x_stride = args.x_stride,
                                                  .x_row = args.x_row,
                                                  .out = gathered_.data(),
                                                  .out_stride = x_stride,
                                                  .rows = args.rows,
                                                  .in = weight.in},
                                                 stream),
                                   "gathering rows"));
  }
  float* const y = fused ? columns_.data<float>() : static_cast<float*>(args.y);
  const int64_t y_stride = fused ? weight.columns : args.y_stride;
  CHECK(!fused || sizeof(float) * args.rows * y_stride <= columns_.bytes());
  ASSIGN_OR_RETURN(const Plan* const plan,
                   PlanFor({fused ? weight.columns : weight.out,
                            weight.depth,
                            weight.in,
                            args.rows,
                            x_stride,
                            y_stride}));
  const float one = 1, zero = 0;
  RETURN_IF_ERROR(ToStatus(api_.Matmul(handle_.get(),
                                       multiply_.get(),
                                       &one,
                                       weight.data,
                                       plan->weight.get(),
                                       x,
                                       plan->x.get(),
                                       &zero,
                                       y,
                                       plan->y.get(),
                                       y,
                                       plan->y.get(),
                                       &plan->algo,
                                       workspace_.data(),
                                       workspace_.bytes(),
                                       stream)));
  if (fused) {
    return cuda::ToStatus(RunSiluMul({.weight = weight,
                                      .columns = y,
                                      .y = args.y,
                                      .y_stride = args.y_stride,
                                      .rows = args.rows},
                                     stream),
                          "silu");
  }
  if (weight.bias == nullptr) return absl::OkStatus();
  return cuda::ToStatus(RunAddBias(y, y_stride, args.rows, weight.out, weight.bias, stream),
                        "bias");
}

}  // namespace pagoda::cuda
