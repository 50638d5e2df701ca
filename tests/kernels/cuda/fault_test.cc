// What no machine that works does: on the fake device alone.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/nccl_communicator.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/cuda/small_epoch.h"
#include "tests/testing/fake_cuda/nccl_comm.h"
#include "tests/testing/fake_cuda/runtime.h"

namespace pagoda::cuda {
namespace {

TEST(LostDevice, IsKeptAsTheBackendsStatus) {
  {
    const auto backend = *MakeCudaBackend({});
    ASSERT_EQ(backend->Configure(kSmallLimits), absl::OkStatus());
    const auto pool = *backend->MakeKvPool(kSmallLayout, 4);
    EXPECT_EQ(backend->status(), absl::OkStatus());
    // What is wrong with a request is none of the device's faults.
    EXPECT_FALSE(backend->NewActivation(DType::kF32, 0, 1).ok());
    const std::vector<SequenceInput> bad = {{.lane = 99, .num_tokens = 1}};
    EXPECT_FALSE(backend->Prepare({.sequences = bad}, *pool).ok());
    EXPECT_EQ(backend->status(), absl::OkStatus());
    fake_cuda::BreakDevice(cudaErrorIllegalAddress);
    backend->SetLaneToken(0, 1);  // answers nothing itself
    EXPECT_EQ(backend->status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(backend->Prepare({}, *pool).status().code(), absl::StatusCode::kInternal);
    const std::string message(backend->status().message());
    EXPECT_NE(message.find("cudaErrorIllegalAddress"), std::string::npos) << message;
  }
  fake_cuda::SetSeed(1);
}

TEST(SeveralDevices, AnyThreadReachesTheBackendsOwn) {
  const auto backend = *MakeCudaBackend({.device = 1});
  ASSERT_CUDA(cudaSetDevice(0));
  const auto on_a_thread = [](const std::function<void()>& call) { std::thread(call).join(); };
  std::unique_ptr<KvPool> pool;
  on_a_thread([&] { ASSERT_EQ(backend->Configure(kSmallLimits), absl::OkStatus()); });
  on_a_thread([&] { pool = *backend->MakeKvPool(kSmallLayout, 4); });
  on_a_thread([&] { backend->SetLaneToken(0, 1); });
  on_a_thread([&] { backend->CopyLaneToken(0, 1); });
  on_a_thread([&] { backend->CopyBlocks(*pool, {{1, 2}}); });
  on_a_thread([&] { backend->ZeroBlocks(*pool, {1}); });
  on_a_thread([&] { EXPECT_EQ(backend->Prepare({}, *pool).status(), absl::OkStatus()); });
  EXPECT_EQ(backend->status(), absl::OkStatus());
  EXPECT_NE(backend->info().memory, (*MakeCudaBackend({}))->info().memory);
}

TEST(NcclDeathTest, AnAbortThatDoesNotReturnEndsTheProcess) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        fake_cuda::nccl_aborts_hang = true;
        const Stream stream = MakeStreamOrDie();
        const auto comm = ConnectNccl(*NewNcclId(),
                                      {.rank = 0,
                                       .size = 2,
                                       .stream = stream.get(),
                                       .max_bytes = 1024,
                                       .connect_timeout = absl::Milliseconds(10),
                                       .abort_timeout = absl::Milliseconds(20)});
      },
      ::testing::ExitedWithCode(1),
      "NCCL did not abort within 20ms");
}

}  // namespace
}  // namespace pagoda::cuda
