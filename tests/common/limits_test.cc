#include "common/limits.h"

#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "gtest/gtest.h"

namespace pagoda {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

// A root folder of its own with the files that the kernel would show.
class LimitsTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    root_ = testing::TempDir() + "/limits_" + info->name() + "_" + std::to_string(getpid());
    std::filesystem::remove_all(root_);
    Put("proc/meminfo",
        "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n");
  }

  void TearDown() override { std::filesystem::remove_all(root_); }

  void Put(const std::string& path, const std::string& text) {
    const std::filesystem::path full = root_ + "/" + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }

  void PutCgroup(const std::string& path, const std::string& text) {
    Put("sys/fs/cgroup/" + path, text);
  }

  std::string root_;
};

TEST_F(LimitsTest, WithoutControlGroupsTheMachineIsTheLimit) {
  EXPECT_EQ(CpuLimit(root_, 6), 6);
  EXPECT_EQ(MemoryLimitBytes(root_), 16 * kGiB);
  EXPECT_EQ(MemoryAvailableBytes(root_), 8 * kGiB);
}

TEST_F(LimitsTest, V2QuotaRoundsDownToAtLeastOne) {
  Put("proc/self/cgroup", "0::/\n");
  PutCgroup("cpu.max", "350000 100000\n");
  EXPECT_EQ(CpuLimit(root_, 8), 3);
  EXPECT_EQ(CpuLimit(root_, 2), 2) << "the affinity mask is smaller";
  PutCgroup("cpu.max", "50000 100000\n");
  EXPECT_EQ(CpuLimit(root_, 8), 1);
  PutCgroup("cpu.max", "max 100000\n");
  EXPECT_EQ(CpuLimit(root_, 8), 8);
}

TEST_F(LimitsTest, V2TheTightestAncestorCounts) {
  Put("proc/self/cgroup", "0::/pod/container\n");
  PutCgroup("pod/cpu.max", "200000 100000\n");
  PutCgroup("pod/container/cpu.max", "max 100000\n");
  PutCgroup("pod/memory.max", "2147483648\n");
  PutCgroup("pod/container/memory.max", "4294967296\n");
  EXPECT_EQ(CpuLimit(root_, 8), 2);
  EXPECT_EQ(MemoryLimitBytes(root_), 2 * kGiB);
  PutCgroup("pod/container/memory.max", "1073741824\n");
  EXPECT_EQ(MemoryLimitBytes(root_), kGiB);
}

TEST_F(LimitsTest, V2GroupThatIsNotVisibleFallsBackToTheMount) {
  Put("proc/self/cgroup", "0::/host/path/of/this/container\n");
  PutCgroup("cpu.max", "400000 100000\n");
  PutCgroup("memory.max", "1073741824\n");
  EXPECT_EQ(CpuLimit(root_, 8), 4);
  EXPECT_EQ(MemoryLimitBytes(root_), kGiB);
}

TEST_F(LimitsTest, V2PageCacheCountsAsAvailable) {
  Put("proc/self/cgroup", "0::/a\n");
  PutCgroup("a/memory.max", "4294967296\n");
  PutCgroup("a/memory.current", "3221225472\n");
  PutCgroup("a/memory.stat",
            "anon 1000\nfile 2147483648\ninactive_anon 7\nactive_file 536870912\n"
            "inactive_file 536870912\nshmem 1073741824\n");
  EXPECT_EQ(MemoryAvailableBytes(root_), 2 * kGiB) << "4 - (3 - 1 of file cache, not 2 with tmpfs)";
}

TEST_F(LimitsTest, AvailableNeverExceedsWhatTheMachineHasLeft) {
  Put("proc/self/cgroup", "0::/\n");
  PutCgroup("memory.max", "max\n");
  PutCgroup("memory.current", "1048576\n");
  EXPECT_EQ(MemoryLimitBytes(root_), 16 * kGiB);
  EXPECT_EQ(MemoryAvailableBytes(root_), 8 * kGiB);
  PutCgroup("memory.max", "1099511627776\n");
  EXPECT_EQ(MemoryLimitBytes(root_), 16 * kGiB);
  EXPECT_EQ(MemoryAvailableBytes(root_), 8 * kGiB);
}

TEST_F(LimitsTest, AGroupOverItsLimitHasNothingAvailable) {
  Put("proc/self/cgroup", "0::/\n");
  PutCgroup("memory.max", "1048576\n");
  PutCgroup("memory.current", "2097152\n");
  EXPECT_EQ(MemoryAvailableBytes(root_), 0u);
  PutCgroup("memory.stat", "active_file 9999999999\n");  // read after current: may exceed it
  EXPECT_EQ(MemoryAvailableBytes(root_), kMiB);
}

TEST_F(LimitsTest, V1ReadsEachControllersOwnTree) {
  Put("proc/self/cgroup", "7:memory:/job\n3:cpu,cpuacct:/job/a\n1:name=systemd:/x\n0::/\n");
  PutCgroup("cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  PutCgroup("cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  PutCgroup("cpu,cpuacct/job/a/cpu.cfs_quota_us", "250000\n");
  PutCgroup("cpu,cpuacct/job/a/cpu.cfs_period_us", "100000\n");
  PutCgroup("memory/memory.limit_in_bytes", "9223372036854771712\n");
  PutCgroup("memory/job/memory.limit_in_bytes", "1073741824\n");
  PutCgroup("memory/job/memory.usage_in_bytes", "536870912\n");
  PutCgroup("memory/job/memory.stat",
            "active_file 1\ninactive_file 1\ntotal_active_file 134217728\n"
            "total_inactive_file 134217728\n");
  EXPECT_EQ(CpuLimit(root_, 8), 2);
  EXPECT_EQ(MemoryLimitBytes(root_), kGiB);
  EXPECT_EQ(MemoryAvailableBytes(root_), kGiB - 256 * kMiB);
}

TEST_F(LimitsTest, V1WithoutQuotaHasNoCpuLimit) {
  Put("proc/self/cgroup", "1:cpu:/\n");
  PutCgroup("cpu/cpu.cfs_quota_us", "-1\n");
  PutCgroup("cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CpuLimit(root_, 5), 5);
}

TEST_F(LimitsTest, BrokenFilesAreNoLimits) {
  Put("proc/self/cgroup", "garbage\n0::\n::\n0::relative\n");
  PutCgroup("cpu.max", "0 0\n");
  PutCgroup("memory.max", "plenty\n");
  EXPECT_EQ(CpuLimit(root_, 4), 4);
  EXPECT_EQ(MemoryLimitBytes(root_), 16 * kGiB);
  Put("proc/meminfo", "");
  EXPECT_EQ(MemoryLimitBytes(root_), 0u);
}

TEST(ThisMachineTest, HasPlausibleLimits) {
  EXPECT_GE(CpuLimit(), 1);
  EXPECT_GT(MemoryLimitBytes(), 64 * kMiB);
  EXPECT_GT(MemoryAvailableBytes(), 0u);
  EXPECT_LE(MemoryAvailableBytes(), MemoryLimitBytes());
}

TEST(ThisMachineTest, CpuLimitFollowsTheAffinityMask) {
  int limit = 0;
  std::thread([&] {
    cpu_set_t allowed;
    ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &one);
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    limit = CpuLimit();
  }).join();
  EXPECT_EQ(limit, 1);
}

}  // namespace
}  // namespace pagoda
