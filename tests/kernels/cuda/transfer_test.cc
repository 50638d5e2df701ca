// Blocks that leave the device and come back.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "common/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/transfer_queue.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/cuda/small_epoch.h"

namespace pagoda::cuda {
namespace {

constexpr int32_t kBlocks = 12;
using Bytes = std::vector<std::byte>;

class TransferTest : public ::testing::Test {
 protected:
  TransferTest() {
    CHECK_OK(backend_->Configure(kSmallLimits));
    pool_ = *backend_->MakeKvPool(kSmallLayout, kBlocks);
    host_ = *backend_->MakeHostKvPool(kSmallLayout, kBlocks);
    FinishAll();  // the pool is cleared
    for (int32_t id = 0; id < kBlocks; ++id) Fill(id);
  }

  // What a block of the device holds at first.
  static Bytes Content(int32_t id) {
    Bytes bytes(kSmallLayout.BlockBytes());
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(id * 17 + i % 251 + 1);
    return bytes;
  }
  static Bytes Zeros() { return Bytes(kSmallLayout.BlockBytes()); }

  void Fill(int32_t id) {
    const Bytes bytes = Content(id);
    ASSERT_CUDA(cudaMemcpyAsync(pool_->block(id),
                                bytes.data(),
                                bytes.size(),
                                cudaMemcpyHostToDevice,
                                stream_.get()));
    ASSERT_CUDA(cudaStreamSynchronize(stream_.get()));
  }
  Bytes OnDevice(int32_t id) {
    Bytes bytes(kSmallLayout.BlockBytes());
    CHECK_EQ(cudaMemcpyAsync(bytes.data(),
                             pool_->block(id),
                             bytes.size(),
                             cudaMemcpyDeviceToHost,
                             stream_.get()),
             cudaSuccess);
    CHECK_EQ(cudaStreamSynchronize(stream_.get()), cudaSuccess);
    return bytes;
  }
  Bytes OnHost(int32_t id) {
    const auto* const block = static_cast<const std::byte*>(host_->block(id));
    return Bytes(block, block + kSmallLayout.BlockBytes());
  }

  void Out(const std::vector<BlockCopy>& copies) {
    ASSERT_EQ(backend_->StartTransfer(*pool_, *host_, copies), absl::OkStatus());
  }
  void In(const std::vector<BlockCopy>& copies) {
    ASSERT_EQ(backend_->StartTransfer(*host_, *pool_, copies), absl::OkStatus());
  }
  uint64_t Finished() { return backend_->FinishedTransfers().value(); }
  static void FinishAll() { ASSERT_CUDA(cudaDeviceSynchronize()); }

  const std::unique_ptr<Backend> backend_ = *MakeCudaBackend({});
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<KvPool> host_;
  const Stream stream_ = MakeStreamOrDie();
};

TEST_F(TransferTest, BlocksGoOutAndComeBackToOtherPlaces) {
  Out({{1, 5}, {2, 6}, {3, 7}, {9, 1}});
  FinishAll();
  EXPECT_EQ(Finished(), 1);
  EXPECT_EQ(OnHost(5), Content(1));
  EXPECT_EQ(OnHost(6), Content(2));
  EXPECT_EQ(OnHost(7), Content(3));
  EXPECT_EQ(OnHost(1), Content(9));
  EXPECT_EQ(OnHost(4), Zeros());
  EXPECT_EQ(OnHost(8), Zeros());
  In({{5, 10}, {7, 11}, {1, 2}});
  FinishAll();
  EXPECT_EQ(Finished(), 2);
  EXPECT_EQ(OnDevice(10), Content(1));
  EXPECT_EQ(OnDevice(11), Content(3));
  EXPECT_EQ(OnDevice(2), Content(9));
  EXPECT_EQ(OnDevice(3), Content(3));
}

TEST_F(TransferTest, WhatStepsDidBeforeIsDoneBefore) {
  // Written before it goes out.
  backend_->ZeroBlocks(*pool_, {1});
  Out({{1, 3}});
  // Read before another comes in.
  const std::vector<BlockCopy> copies = {{4, 5}};
  backend_->CopyBlocks(*pool_, copies);
  In({{3, 4}});
  FinishAll();
  EXPECT_EQ(OnHost(3), Zeros());
  EXPECT_EQ(OnDevice(5), Content(4));
  EXPECT_EQ(OnDevice(4), Zeros());
  EXPECT_EQ(Finished(), 2);
}

TEST_F(TransferTest, TransfersFinishInOrderAndOneOfNothingToo) {
  Out({{1, 1}});
  Out({});
  In({{1, 7}});
  for (uint64_t seen = 0, last = 0; seen < 3; last = seen) {
    seen = Finished();
    ASSERT_GE(seen, last);
    EXPECT_TRUE(seen == 0 || OnHost(1) == Content(1));
    if (seen < 3) FinishAll();
  }
  EXPECT_EQ(OnDevice(7), Content(1));
}

TEST_F(TransferTest, TooManyAtATimeAreRefusedAndNoneIsLost) {
  uint64_t started = 0;
  absl::Status status;
  while (status.ok() && started < 4 * TransferQueue::kMaxPending) {
    const int32_t id = 1 + static_cast<int32_t>(started % 10);
    status = backend_->StartTransfer(*pool_, *host_, {{id, id}});
    if (status.ok()) ++started;
  }
  if (!status.ok()) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(status.message(), "64 transfers of blocks are under way, the most that can be");
  }
  EXPECT_GE(started, TransferQueue::kMaxPending);
  FinishAll();
  EXPECT_EQ(Finished(), started);
  Out({{11, 11}});
  FinishAll();
  EXPECT_EQ(Finished(), started + 1);
  for (int32_t id = 1; id < kBlocks; ++id) EXPECT_EQ(OnHost(id), Content(id)) << id;
}

TEST_F(TransferTest, TheNextEpochCountsFromNothing) {
  Out({{1, 1}});
  ASSERT_EQ(backend_->Configure(kSmallLimits), absl::OkStatus());
  EXPECT_EQ(Finished(), 0);
}

TEST_F(TransferTest, BetweenTwoPoolsOfTheDeviceIsABug) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(static_cast<void>(backend_->StartTransfer(*pool_, *pool_, {{1, 2}})),
               "between the device and the host");
  EXPECT_DEATH(Out({{1, kBlocks}}), "block 12 of 12");
}

}  // namespace
}  // namespace pagoda::cuda
