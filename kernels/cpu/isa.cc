#include "kernels/cpu/isa.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace pagoda::cpu {
namespace {

bool Supported(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvx512:
      return Supported(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
  }
  return false;
}

}  // namespace

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (Supported(isa)) isas.push_back(isa);
  }
  return isas;
}

absl::StatusOr<Isa> ChooseIsa(absl::string_view name) {
  if (name == "auto") return SupportedIsas().back();
  for (Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (name != IsaName(isa)) continue;
    if (Supported(isa)) return isa;
    return absl::FailedPreconditionError(absl::StrCat("cpu-isa ",
                                                      name,
                                                      ": this machine lacks it; its best is ",
                                                      IsaName(SupportedIsas().back())));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("cpu-isa \"", name, "\": expected auto, scalar, avx2 or avx512"));
}

}  // namespace pagoda::cpu
