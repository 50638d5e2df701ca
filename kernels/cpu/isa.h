// The instruction set of all CPU kernels of a process, chosen once (--cpu-isa) and never by shape.
// Every choice computes the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace pagoda::cpu {

enum class Isa : uint8_t { kScalar, kAvx2, kAvx512 };

const char* IsaName(Isa isa);

// What this machine can run, slowest first; never empty.
std::vector<Isa> SupportedIsas();

// `name` is "auto" (the fastest), "scalar", "avx2" or "avx512". INVALID_ARGUMENT for another name,
// FAILED_PRECONDITION for a set that this machine lacks.
absl::StatusOr<Isa> ChooseIsa(absl::string_view name);

}  // namespace pagoda::cpu
