// Counts the program's heap allocations: it is linked with an operator new of its own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pagoda::bench {

// Since the program began, on all threads.
struct Allocations {
  uint64_t all = 0;
  uint64_t marked = 0;  // of them, those of the marked size
};

Allocations CountAllocations();

// Allocations of exactly `bytes` are counted on their own from now on.
void MarkSize(size_t bytes);

// The size of the latest allocation.
size_t LastSize();

}  // namespace pagoda::bench
