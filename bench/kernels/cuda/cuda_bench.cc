// The kernels of kernels/cuda as shares of the device's limits, measured in the same run.
//
//   cuda_bench [--quick] [--repetitions N] [--out FILE]
//
// A table goes to the standard output, JSON lines to FILE. --quick runs shapes so small that the
// figures mean nothing: to see that all of it runs.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "bench/kernels/cuda/cases.h"
#include "bench/kernels/cuda/report.h"
#include "common/status.h"

namespace pagoda::bench {
namespace {

constexpr int kMostRepetitions = 10'000;

absl::StatusOr<Report> Run(const MeterOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Meter> meter, Meter::Make(options, MakeGemm));
  RETURN_IF_ERROR(MeasureAll(*meter));
  return meter->TakeReport();
}

struct Arguments {
  MeterOptions options;
  std::string out;
};

bool Parse(int argc, char** argv, Arguments* arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--quick") {
      arguments->options.quick = true;
      continue;
    }
    if (++i == argc) return false;
    if (name == "--out") {
      arguments->out = argv[i];
    } else if (name == "--repetitions") {
      arguments->options.repetitions = std::atoi(argv[i]);
    } else {
      return false;
    }
  }
  const int repetitions = arguments->options.repetitions;
  return repetitions >= 1 && repetitions <= kMostRepetitions;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  if (!Parse(argc, argv, &arguments)) {
    std::fprintf(stderr, "usage: cuda_bench [--quick] [--repetitions 1..10000] [--out FILE]\n");
    return 2;
  }
  const absl::StatusOr<Report> report = Run(arguments.options);
  if (!report.ok()) {
    std::fprintf(stderr, "cuda_bench: %s\n", report.status().ToString().c_str());
    return 1;
  }
  std::fputs(Table(*report).c_str(), stdout);
  if (arguments.out.empty()) return 0;
  std::ofstream file(arguments.out);
  file << JsonLines(*report) << std::flush;
  if (file) return 0;
  std::fprintf(stderr, "cuda_bench: cannot write %s\n", arguments.out.c_str());
  return 1;
}

}  // namespace
}  // namespace pagoda::bench

int main(int argc, char** argv) { return pagoda::bench::Main(argc, argv); }
