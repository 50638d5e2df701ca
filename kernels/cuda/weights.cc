#include "kernels/cuda/weights.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/cuda/status.h"
#include "kernels/host_tensor.h"
#include "kernels/kv_pool_bytes.h"
#include "kernels/linear_spec.h"
#include "kernels/rope_values.h"

namespace pagoda::cuda {
namespace {

int32_t RoundUp(int64_t value, int64_t multiple) {
  return static_cast<int32_t>((value + multiple - 1) / multiple * multiple);
}

// Element k of every row is `stride` elements after element k - 1 but at the ends of slices.
template <class T>
void PackRow(const PackedLinear& packed, const T* row, int32_t column, T* out) {
  for (int32_t k = 0; k < packed.in; ++k) out[PackedOffset(packed, column, k)] = row[k];
}

template <class T>
void PackParts(const PackedLinear& packed, absl::Span<const HostTensor> parts, T* out) {
  std::vector<T> row(packed.in);
  int32_t first = 0;
  for (size_t p = 0; p < parts.size(); ++p) {
    const bool fused = packed.epilogue == Epilogue::kSiluMul;
    for (int32_t i = 0; i < parts[p].rows; ++i) {
      ReadRow(parts[p], i, 0, packed.in, row.data());
      const int32_t column =
          fused ? PackedColumn(packed, i, static_cast<int>(p)) : PackedColumn(packed, first + i, 0);
      PackRow(packed, row.data(), column, out);
    }
    first += static_cast<int32_t>(parts[p].rows);
  }
}

std::vector<float> PackBias(const PackedLinear& packed, absl::Span<const HostTensor> biases) {
  std::vector<float> out(packed.columns);
  int32_t first = 0;
  for (size_t p = 0; p < biases.size(); ++p) {
    const bool fused = packed.epilogue == Epilogue::kSiluMul;
    for (int32_t i = 0; i < biases[p].cols; ++i) {
      const int32_t column =
          fused ? PackedColumn(packed, i, static_cast<int>(p)) : PackedColumn(packed, first + i, 0);
      ReadRow(biases[p], 0, i, 1, &out[column]);
    }
    first += static_cast<int32_t>(biases[p].cols);
  }
  return out;
}

PackedLinear ShapeOf(const LinearSpec& spec, absl::Span<const HostTensor> parts, int slices) {
  PackedLinear packed;
  packed.dtype = spec.dtype;
  packed.epilogue = spec.epilogue;
  packed.in = static_cast<int32_t>(spec.in);
  packed.slices = slices;
  packed.slice = packed.in / slices;
  packed.depth = RoundUp(packed.slice, kLinearDepth);
  if (spec.epilogue == Epilogue::kSiluMul) {
    packed.out = static_cast<int32_t>(parts[0].rows);
    packed.columns = RoundUp(int64_t{2} * RoundUp(packed.out, 8), kLinearColumns);
  } else {
    for (const HostTensor& part : parts) packed.out += static_cast<int32_t>(part.rows);
    packed.columns = RoundUp(packed.out, kLinearColumns);
  }
  return packed;
}

// Rows of a tensor in `dtype`.
std::vector<std::byte> ReadAll(const HostTensor& tensor, DType dtype) {
  std::vector<std::byte> bytes(tensor.rows * tensor.cols * DTypeSize(dtype));
  for (int64_t row = 0; row < tensor.rows; ++row) {
    std::byte* const out = &bytes[row * tensor.cols * DTypeSize(dtype)];
    if (dtype == DType::kF32) {
      ReadRow(tensor, row, 0, tensor.cols, reinterpret_cast<float*>(out));
    } else {
      ReadRow(tensor, row, 0, tensor.cols, reinterpret_cast<uint16_t*>(out));
    }
  }
  return bytes;
}

}  // namespace

absl::StatusOr<DeviceBuffer> Upload(const void* data, size_t bytes, const Stream& stream) {
  ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Make(bytes));
  RETURN_IF_ERROR(
      ToStatus(cudaMemcpyAsync(buffer.data(), data, bytes, cudaMemcpyHostToDevice, stream.get()),
               "copying a weight"));
  RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(stream.get()), "copying a weight"));
  return buffer;
}

absl::StatusOr<std::unique_ptr<CudaLinear>> CudaLinear::Make(const LinearSpec& spec,
                                                             absl::Span<const HostTensor> parts,
                                                             absl::Span<const HostTensor> biases,
                                                             const Stream& stream,
                                                             bool in_slices) {
  RETURN_IF_ERROR(CheckLinear(spec, parts, biases));
  ASSIGN_OR_RETURN(int slices, LocalSlices(spec));
  if (!in_slices) slices = 1;
  auto linear = std::make_unique<CudaLinear>();
  PackedLinear& packed = linear->packed_;
  packed = ShapeOf(spec, parts, slices);
  std::vector<std::byte> bytes(packed.Bytes());
  if (spec.dtype == DType::kF32) {
    PackParts(packed, parts, reinterpret_cast<float*>(bytes.data()));
  } else {
    PackParts(packed, parts, reinterpret_cast<uint16_t*>(bytes.data()));
  }
  ASSIGN_OR_RETURN(linear->data_, Upload(bytes.data(), bytes.size(), stream));
  packed.data = linear->data_.data();
  if (biases.empty()) return linear;
  const std::vector<float> bias = PackBias(packed, biases);
  ASSIGN_OR_RETURN(linear->bias_, Upload(bias.data(), bias.size() * sizeof(float), stream));
  const float* const data = linear->bias_.data<float>();
  // Of a sum that ranks divide it is added once, by LayerOps::AddBias.
  if (spec.partition == Partition::kRow && spec.tp_size > 1) {
    linear->late_bias_ = data;
  } else {
    packed.bias = data;
  }
  return linear;
}

absl::StatusOr<std::unique_ptr<CudaEmbedding>> CudaEmbedding::Make(const EmbeddingSpec& spec,
                                                                   const HostTensor& table,
                                                                   const Stream& stream) {
  RETURN_IF_ERROR(CheckHostTensor(table, -1, -1, "embedding"));
  if (spec.dtype != DType::kF32 && spec.dtype != DType::kBf16) {
    return absl::UnimplementedError(
        absl::StrCat("embedding in ", DTypeName(spec.dtype), ": expected float32 or bfloat16"));
  }
  auto embedding = std::make_unique<CudaEmbedding>();
  embedding->spec_ = spec;
  embedding->tokens_ = static_cast<int32_t>(table.rows);
  embedding->hidden_ = static_cast<int32_t>(table.cols);
  const std::vector<std::byte> bytes = ReadAll(table, spec.dtype);
  ASSIGN_OR_RETURN(embedding->data_, Upload(bytes.data(), bytes.size(), stream));
  return embedding;
}

absl::StatusOr<std::unique_ptr<CudaNorm>> CudaNorm::Make(const HostTensor& weight,
                                                         const Stream& stream) {
  RETURN_IF_ERROR(CheckHostTensor(weight, 1, -1, "norm weight"));
  auto norm = std::make_unique<CudaNorm>();
  const std::vector<std::byte> bytes = ReadAll(weight, DType::kF32);
  ASSIGN_OR_RETURN(norm->data_, Upload(bytes.data(), bytes.size(), stream));
  return norm;
}

absl::StatusOr<std::unique_ptr<CudaRopeTable>> CudaRopeTable::Make(const RopeSpec& spec,
                                                                   const Stream& stream) {
  RETURN_IF_ERROR(CheckRope(spec));
  auto table = std::make_unique<CudaRopeTable>();
  table->max_position_ = spec.max_position;
  table->pairs_ = static_cast<int32_t>(spec.inverse_frequencies.size());
  std::vector<float> values(table->max_position_ * 2 * table->pairs_);
  FillRope(spec, values.data());
  ASSIGN_OR_RETURN(table->data_, Upload(values.data(), values.size() * sizeof(float), stream));
  return table;
}

absl::StatusOr<std::unique_ptr<CudaKvPool>> CudaKvPool::Make(const KvLayout& layout,
                                                             int32_t num_blocks,
                                                             const Stream& stream) {
  ASSIGN_OR_RETURN(const size_t bytes, KvPoolBytes(layout, num_blocks));
  auto pool = std::make_unique<CudaKvPool>();
  pool->layout_ = layout;
  pool->num_blocks_ = num_blocks;
  ASSIGN_OR_RETURN(pool->data_, DeviceBuffer::Make(bytes));
  RETURN_IF_ERROR(
      ToStatus(cudaMemsetAsync(pool->data(), 0, bytes, stream.get()), "clearing the KV pool"));
  return pool;
}

absl::StatusOr<std::unique_ptr<CudaHostKvPool>> CudaHostKvPool::Make(const KvLayout& layout,
                                                                     int32_t num_blocks) {
  ASSIGN_OR_RETURN(const size_t bytes, KvPoolBytes(layout, num_blocks));
  auto pool = std::make_unique<CudaHostKvPool>();
  pool->layout_ = layout;
  pool->num_blocks_ = num_blocks;
  ASSIGN_OR_RETURN(pool->data_, PinnedBuffer::Make(bytes));
  std::memset(pool->data_.data(), 0, bytes);
  return pool;
}

}  // namespace pagoda::cuda
