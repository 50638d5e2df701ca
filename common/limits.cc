#include "common/limits.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace pagoda {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Nothing for an absent file or "max".
std::optional<uint64_t> ReadNumber(const std::string& path) {
  uint64_t value;
  if (!absl::SimpleAtoi(ReadAll(path), &value)) return std::nullopt;
  return value;
}

// The number after `key` in lines "key 12" or "key:  12 kB"; 0 when absent.
uint64_t NumberOf(absl::string_view text, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(": \t"), absl::SkipEmpty());
    uint64_t value;
    if (words.size() >= 2 && words[0] == key && absl::SimpleAtoi(words[1], &value)) return value;
  }
  return 0;
}

// Folders whose files bound this process for one controller, from its own group up to the root.
// Groups that are not visible from here (a container without its own cgroup namespace) hold no
// files, so the walk finds the mount's root, which then is the container's own group.
struct Group {
  std::vector<std::string> folders;
  bool v2;
};

std::vector<std::string> Ancestors(const std::string& mount, std::string path) {
  std::vector<std::string> folders;
  while (!path.empty() && path != "/") {
    folders.push_back(mount + path);
    path.resize(path.rfind('/'));
  }
  folders.push_back(mount);
  return folders;
}

Group FindGroup(const std::string& root, absl::string_view controller) {
  const std::string mounts = root + "/sys/fs/cgroup";
  const std::string self = ReadAll(root + "/proc/self/cgroup");
  std::string v2_path;
  for (absl::string_view line : absl::StrSplit(self, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3 || !absl::StartsWith(parts[2], "/")) continue;
    if (parts[0] == "0" && parts[1].empty()) v2_path = parts[2];
    for (absl::string_view name : absl::StrSplit(parts[1], ',')) {
      // The mount is named as the line names it ("cpu,cpuacct"), for every controller in it.
      if (name == controller) return {Ancestors(mounts + "/" + parts[1], parts[2]), /*v2=*/false};
    }
  }
  return {Ancestors(mounts, v2_path), /*v2=*/true};
}

// CPUs that the quota in `folder` allows; nothing without a quota.
std::optional<double> CpuQuota(const std::string& folder, bool v2) {
  double quota;
  double period;
  if (v2) {
    const std::vector<std::string> words =
        absl::StrSplit(ReadAll(folder + "/cpu.max"), absl::ByAnyChar(" \n"), absl::SkipEmpty());
    if (words.size() != 2 || !absl::SimpleAtod(words[0], &quota) ||
        !absl::SimpleAtod(words[1], &period)) {
      return std::nullopt;
    }
  } else if (!absl::SimpleAtod(ReadAll(folder + "/cpu.cfs_quota_us"), &quota) ||
             !absl::SimpleAtod(ReadAll(folder + "/cpu.cfs_period_us"), &period)) {
    return std::nullopt;
  }
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

uint64_t MemoryLimit(const std::string& folder, bool v2) {
  return ReadNumber(folder + (v2 ? "/memory.max" : "/memory.limit_in_bytes")).value_or(kNoLimit);
}

// Usage without page cache, which the kernel gives back before it refuses memory. tmpfs is not
// among the file lists, so it counts as used.
uint64_t MemoryUsed(const std::string& folder, bool v2) {
  const std::string stat = ReadAll(folder + "/memory.stat");
  const uint64_t used =
      ReadNumber(folder + (v2 ? "/memory.current" : "/memory.usage_in_bytes")).value_or(0);
  const uint64_t cache =
      v2 ? NumberOf(stat, "active_file") + NumberOf(stat, "inactive_file")
         : NumberOf(stat, "total_active_file") + NumberOf(stat, "total_inactive_file");
  return used - std::min(used, cache);
}

int AffinityCpus() {
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
    cpu_set_t* const set = CPU_ALLOC(cpus);
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    const int rc = sched_getaffinity(0, bytes, set);
    const int error = errno;
    const int count = rc == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (rc == 0) return count;
    if (error != EINVAL) break;  // EINVAL: the mask has more bits than the set
  }
  return 1;
}

}  // namespace

int CpuLimit() { return CpuLimit("/", AffinityCpus()); }

int CpuLimit(const std::string& root, int affinity_cpus) {
  const Group group = FindGroup(root, "cpu");
  double cpus = affinity_cpus;
  for (const std::string& folder : group.folders) {
    cpus = std::min(cpus, CpuQuota(folder, group.v2).value_or(cpus));
  }
  return std::max(1, static_cast<int>(cpus));
}

uint64_t MemoryLimitBytes(const std::string& root) {
  const Group group = FindGroup(root, "memory");
  uint64_t limit = NumberOf(ReadAll(root + "/proc/meminfo"), "MemTotal") * 1024;
  for (const std::string& folder : group.folders) {
    limit = std::min(limit, MemoryLimit(folder, group.v2));
  }
  return limit;
}

uint64_t MemoryAvailableBytes(const std::string& root) {
  const Group group = FindGroup(root, "memory");
  uint64_t available = NumberOf(ReadAll(root + "/proc/meminfo"), "MemAvailable") * 1024;
  for (const std::string& folder : group.folders) {
    const uint64_t limit = MemoryLimit(folder, group.v2);
    available = std::min(available, limit - std::min(limit, MemoryUsed(folder, group.v2)));
  }
  return available;
}

}  // namespace pagoda
