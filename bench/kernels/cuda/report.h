// A report as people read it, and as programs do.
#pragma once

#include <string>

#include "bench/kernels/cuda/meter.h"

namespace pagoda::bench {

// The device, its limits, and a line for each figure, in Markdown.
std::string Table(const Report& report);

// A JSON object in each line: the device and its limits, then a figure in each.
std::string JsonLines(const Report& report);

}  // namespace pagoda::bench
