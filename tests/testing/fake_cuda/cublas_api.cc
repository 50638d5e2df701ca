// cuBLASLt: what it takes is checked as far as the project relies on it, and its work is queued.
#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <memory>

#include "tests/testing/fake_cuda/include/cublasLt.h"
#include "tests/testing/fake_cuda/memory.h"
#include "tests/testing/fake_cuda/runtime.h"

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque {
  cublasOperation_t a = CUBLAS_OP_N;
};
struct cublasLtMatrixLayoutOpaque {
  cudaDataType type;
  uint64_t rows;
  uint64_t columns;
  int64_t ld;

  // From its first byte to its last.
  size_t Bytes() const {
    return (type == CUDA_R_32F ? 4 : 2) * ((columns - 1) * static_cast<size_t>(ld) + rows);
  }
};
struct cublasLtMatmulPreferenceOpaque {
  size_t workspace = 0;
};

namespace pagoda::fake_cuda {
namespace {

constexpr uint64_t kPartsOfASum = 4;  // with several rows
constexpr uintptr_t kAlignment = 256;

float FromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

float Dot(const uint16_t* a, const uint16_t* b, uint64_t k, bool in_parts) {
  const uint64_t parts = in_parts ? kPartsOfASum : 1;
  float sum = 0;
  for (uint64_t part = 0; part < parts; ++part) {
    float of_part = 0;
    for (uint64_t i = part; i < k; i += parts) {
      of_part = std::fma(FromBf16(a[i]), FromBf16(b[i]), of_part);
    }
    sum += of_part;
  }
  return sum;
}

bool IsMatrix(const void* data, const cublasLtMatrixLayoutOpaque& layout) {
  return reinterpret_cast<uintptr_t>(data) % kAlignment == 0 &&
         InDeviceMemory(data, layout.Bytes());
}

bool Fit(const cublasLtMatmulDescOpaque& desc,
         const cublasLtMatrixLayoutOpaque& a,
         const cublasLtMatrixLayoutOpaque& b,
         const cublasLtMatrixLayoutOpaque& d) {
  return desc.a == CUBLAS_OP_T && a.type == CUDA_R_16BF && b.type == CUDA_R_16BF &&
         d.type == CUDA_R_32F && a.rows == b.rows && a.columns == d.rows && b.columns == d.columns;
}

template <class T, class... A>
cublasStatus_t Create(T** out, A... arguments) {
  *out = std::make_unique<T>(T{arguments...}).release();
  return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t Destroy(T* owned) {
  const std::unique_ptr<T> gone(owned);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace
}  // namespace pagoda::fake_cuda

namespace fake = pagoda::fake_cuda;

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return fake::Create(handle); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return fake::Destroy(handle); }

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "success";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "no memory";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an invalid value";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "the device failed";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "not supported";
  }
  return "unknown";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc,
                                        cublasComputeType_t,
                                        cudaDataType scale) {
  return scale == CUDA_R_32F ? fake::Create(desc) : CUBLAS_STATUS_NOT_SUPPORTED;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) { return fake::Destroy(desc); }

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value,
                                              size_t bytes) {
  if (attribute != CUBLASLT_MATMUL_DESC_TRANSA || bytes != sizeof(desc->a)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  desc->a = *static_cast<const cublasOperation_t*>(value);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout,
                                          cudaDataType type,
                                          uint64_t rows,
                                          uint64_t columns,
                                          int64_t ld) {
  if (rows == 0 || columns == 0 || ld < static_cast<int64_t>(rows)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  return fake::Create(layout, type, rows, columns, ld);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return fake::Destroy(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return fake::Create(preference);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return fake::Destroy(preference);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    const void* value,
                                                    size_t bytes) {
  if (bytes != sizeof(size_t)) return CUBLAS_STATUS_INVALID_VALUE;
  preference->workspace = *static_cast<const size_t*>(value);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t,
                                              cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference,
                                              int requested,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* returned) {
  if (requested < 1 || !fake::Fit(*desc, *a, *b, *d)) return CUBLAS_STATUS_NOT_SUPPORTED;
  *results = {.algo = {{a->rows, a->columns, b->columns}}, .workspaceSize = preference->workspace};
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t,
                              cublasLtMatmulDesc_t desc,
                              const void* alpha,
                              const void* a,
                              cublasLtMatrixLayout_t a_layout,
                              const void* b,
                              cublasLtMatrixLayout_t b_layout,
                              const void* beta,
                              const void* c,
                              cublasLtMatrixLayout_t,
                              void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algo,
                              void* workspace,
                              size_t workspace_bytes,
                              cudaStream_t stream) {
  using pagoda::MutexLock;
  fake::Runtime& runtime = fake::Runtime::Get();
  MutexLock lock(runtime.mutex());
  if (runtime.Enter() != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  const cublasLtMatrixLayoutOpaque ax = *a_layout, bx = *b_layout, dx = *d_layout;
  const cublasLtMatmulAlgo_t expected = {{ax.rows, ax.columns, bx.columns}};
  if (!fake::Fit(*desc, ax, bx, dx) || !fake::IsMatrix(a, ax) || !fake::IsMatrix(b, bx) ||
      !fake::IsMatrix(d, dx) || c != d || *static_cast<const float*>(alpha) != 1 ||
      *static_cast<const float*>(beta) != 0 ||
      !std::equal(std::begin(algo->data), std::end(algo->data), expected.data) ||
      !fake::InDeviceMemory(workspace, workspace_bytes)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const auto attempt = [=](fake::Random*) {
    for (uint64_t column = 0; column < dx.columns; ++column) {
      for (uint64_t row = 0; row < dx.rows; ++row) {
        static_cast<float*>(d)[row + column * dx.ld] =
            fake::Dot(static_cast<const uint16_t*>(a) + row * ax.ld,
                      static_cast<const uint16_t*>(b) + column * bx.ld,
                      ax.rows,
                      dx.columns > 1);
      }
    }
    return true;
  };
  return runtime.Enqueue(stream, {attempt}) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                           : CUBLAS_STATUS_EXECUTION_FAILED;
}
