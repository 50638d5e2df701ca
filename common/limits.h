// What this process may use, by affinity mask and control groups (v2, v1), not what the machine
// has. Every call reads the files anew. `root` is "/" but for tests, which pass a tree of their own
// with proc/ and sys/fs/cgroup/ inside.
#pragma once

#include <cstdint>
#include <string>

namespace pagoda {

// CPUs: the smaller of the affinity mask and the CPU quota rounded down, at least 1. Rounded down
// because a thread team that meets at barriers runs as slowly as its throttled thread.
int CpuLimit();

// The quota's part of CpuLimit() for `affinity_cpus` allowed CPUs.
int CpuLimit(const std::string& root, int affinity_cpus);

// The smallest memory limit of our control group and its ancestors, at most MemTotal.
uint64_t MemoryLimitBytes(const std::string& root = "/");

// What may still be allocated: the smallest (limit - usage) of our control group and its ancestors,
// where page cache counts as free, at most MemAvailable. 0 when the limits are exceeded.
uint64_t MemoryAvailableBytes(const std::string& root = "/");

}  // namespace pagoda
