#include "common/server_flags.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(ServerFlagsTest, CoordinatorArgumentsReadBackAsTheSameValues) {
  ServerFlags given;
  given.host = "0.0.0.0";
  given.grpc_port = 0;
  given.dtype = "float32";
  given.load_format = "dummy";
  given.block_size = 32;
  given.max_model_len = 77;
  given.num_gpu_blocks_override = 5;
  given.kv_cache_memory_bytes = uint64_t{3} << 30;
  given.max_num_seqs = 9;
  given.max_num_batched_tokens = 1;
  given.max_num_queued_reqs = 2;
  given.async_scheduling = false;
  given.step_timeout = absl::Milliseconds(2500);
  given.drain_timeout = absl::Seconds(61);
  given.log_format = "json";

  ServerFlags read;
  FlagSet set;
  AddCoordinatorFlags(&read, &set);
  AddLogFlags(&read, &set);
  ASSERT_TRUE(set.Parse(CoordinatorArguments(given)).ok());
  EXPECT_EQ(CoordinatorArguments(read), CoordinatorArguments(given));
  EXPECT_EQ(read.kv_cache_memory_bytes, given.kv_cache_memory_bytes);
  EXPECT_EQ(read.step_timeout, given.step_timeout);
  EXPECT_FALSE(read.async_scheduling);
}

TEST(ServerFlagsTest, WorkerArgumentsReadBackAsTheSameValues) {
  ServerFlags given;
  given.cpu_isa = "avx2";
  given.threads = 3;
  given.log_format = "json";
  ServerFlags read;
  FlagSet set;
  AddWorkerFlags(&read, &set);
  AddLogFlags(&read, &set);
  ASSERT_TRUE(set.Parse(WorkerArguments(given)).ok());
  EXPECT_EQ(WorkerArguments(read), WorkerArguments(given));
}

TEST(ServerFlagsTest, NoAsyncSchedulingIsDepthOne) {
  ServerFlags flags;
  FlagSet set;
  AddCoordinatorFlags(&flags, &set);
  ASSERT_TRUE(set.Parse({"--no-async-scheduling"}).ok());
  EXPECT_FALSE(flags.async_scheduling);
}

}  // namespace
}  // namespace pagoda
