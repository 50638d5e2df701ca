#include "kernels/cpu/weights.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/host_tensor.h"
#include "kernels/linear_spec.h"
#include "kernels/rope_values.h"

namespace pagoda::cpu {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Where output `lane` of `panel` comes from: part and row, or part -1 for none.
struct Source {
  int part;
  int64_t row;
};
Source PanelSource(Epilogue epilogue,
                   absl::Span<const HostTensor> parts,
                   int64_t panel,
                   int64_t lane) {
  if (epilogue == Epilogue::kSiluMul) {
    const int64_t row = panel / 2 * kPanel + lane;
    if (row >= parts[0].rows) return {-1, 0};
    return {static_cast<int>(panel % 2), row};
  }
  int64_t row = panel * kPanel + lane;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (row < parts[i].rows) return {static_cast<int>(i), row};
    row -= parts[i].rows;
  }
  return {-1, 0};
}

// Writes one panel; its memory is zero before.
template <class T>
void PackPanel(const PackedLinear& packed,
               absl::Span<const HostTensor> parts,
               int64_t panel,
               T* out) {
  constexpr int64_t kRun = 256;
  T run[kRun];
  for (int64_t k = 0; k < packed.in; k += kRun) {
    const int64_t count = std::min(kRun, packed.in - k);
    T* cells = out + k * kPanel;
    for (int64_t lane = 0; lane < kPanel; ++lane) {
      const Source source = PanelSource(packed.epilogue, parts, panel, lane);
      if (source.part < 0) continue;
      ReadRow(parts[source.part], source.row, k, count, run);
      for (int64_t i = 0; i < count; ++i) {
        // Both cells are 32 elements a pair: bf16 [lane][2], f32 [2][lane].
        const int64_t at = sizeof(T) == 4 ? i * kPanel + lane : i / 2 * 32 + lane * 2 + i % 2;
        cells[at] = run[i];
      }
    }
  }
}

std::vector<float> PackBias(const PackedLinear& packed,
                            absl::Span<const HostTensor> parts,
                            absl::Span<const HostTensor> biases) {
  if (biases.empty()) return {};
  std::vector<float> bias(packed.panels * kPanel);
  for (int64_t i = 0; i < packed.panels * kPanel; ++i) {
    const Source source = PanelSource(packed.epilogue, parts, i / kPanel, i % kPanel);
    if (source.part >= 0) ReadRow(biases[source.part], 0, source.row, 1, &bias[i]);
  }
  return bias;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CpuLinear>> PackCpuLinear(const LinearSpec& spec,
                                                         absl::Span<const HostTensor> parts,
                                                         absl::Span<const HostTensor> biases,
                                                         ThreadTeam* team) {
  RETURN_IF_ERROR(CheckLinear(spec, parts, biases));
  PackedLinear packed;
  ASSIGN_OR_RETURN(packed.slices, LocalSlices(spec));
  packed.dtype = spec.dtype;
  packed.epilogue = spec.epilogue;
  packed.in = spec.in;
  packed.padded_in = RoundUp(spec.in, int64_t{kStep} * packed.slices);
  if (spec.epilogue == Epilogue::kSiluMul) {
    packed.out = parts[0].rows;
    packed.panels = 2 * (RoundUp(packed.out, kPanel) / kPanel);
  } else {
    for (const HostTensor& part : parts) packed.out += part.rows;
    packed.panels = RoundUp(packed.out, kPanel) / kPanel;
  }
  const size_t elements = packed.PanelElements() * packed.panels;
  ASSIGN_OR_RETURN(HugeBuffer data, HugeBuffer::Make(elements * DTypeSize(spec.dtype)));
  team->Split(packed.panels, [&](int64_t begin, int64_t end, int) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const size_t at = packed.PanelElements() * panel;
      if (spec.dtype == DType::kF32) {
        PackPanel(packed, parts, panel, reinterpret_cast<float*>(data.data()) + at);
      } else {
        PackPanel(packed, parts, panel, reinterpret_cast<uint16_t*>(data.data()) + at);
      }
    }
  });
  return std::make_unique<CpuLinear>(packed,
                                     std::move(data),
                                     PackBias(packed, parts, biases),
                                     spec.partition == Partition::kRow && spec.tp_size > 1);
}

absl::StatusOr<std::unique_ptr<CpuEmbedding>> CpuEmbedding::Make(const EmbeddingSpec& spec,
                                                                 const HostTensor& table) {
  RETURN_IF_ERROR(CheckHostTensor(table, -1, -1, "embedding"));
  if (spec.dtype != DType::kF32 && spec.dtype != DType::kBf16) {
    return absl::UnimplementedError(absl::StrCat("embedding in ", DTypeName(spec.dtype)));
  }
  if (spec.first_token < 0 || spec.first_token > spec.vocab_size - table.rows) {
    return absl::InvalidArgumentError(absl::StrCat("embedding of ",
                                                   table.rows,
                                                   " tokens from ",
                                                   spec.first_token,
                                                   " in a vocabulary of ",
                                                   spec.vocab_size));
  }
  return std::make_unique<CpuEmbedding>(spec, table);
}

void CpuEmbedding::Read(int32_t token, float* out) const {
  const int64_t row = token - spec_.first_token;
  if (row < 0 || row >= table_.rows) {
    std::fill(out, out + table_.cols, 0.0f);
    return;
  }
  ReadRow(table_, row, 0, table_.cols, out);
  if (spec_.dtype != DType::kBf16 || table_.dtype == DType::kBf16) return;
  for (int64_t i = 0; i < table_.cols; ++i) out[i] = Bf16ToF32(F32ToBf16(out[i]));
}

absl::StatusOr<std::unique_ptr<CpuRopeTable>> CpuRopeTable::Make(const RopeSpec& spec) {
  RETURN_IF_ERROR(CheckRope(spec));
  const int64_t pairs = static_cast<int64_t>(spec.inverse_frequencies.size());
  ASSIGN_OR_RETURN(HugeBuffer table,
                   HugeBuffer::Make(spec.max_position * 2 * pairs * sizeof(float)));
  FillRope(spec, reinterpret_cast<float*>(table.data()));
  return std::make_unique<CpuRopeTable>(spec.max_position, pairs, std::move(table));
}

}  // namespace pagoda::cpu
