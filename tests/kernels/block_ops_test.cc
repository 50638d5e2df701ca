#include "kernels/cpu/block_ops.h"

#include <cmath>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/dtype.h"

namespace pagoda::cpu {
namespace {

constexpr int kBlocks = 20;

class BlockOpsTest : public testing::TestWithParam<size_t> {
 protected:
  BlockOpsTest() : bytes_(kBlocks * GetParam()) {
    std::mt19937 random(3);
    for (std::byte& b : bytes_) b = static_cast<std::byte>(random());
  }

  BlockMemory memory() { return {bytes_.data(), GetParam()}; }

  // fn(part, parts) on that many threads at once, or on one after the other in an odd order.
  template <class Fn>
  static void InParts(int parts, const Fn& fn) {
    std::vector<std::thread> threads;
    for (int part = parts - 1; part >= 0; --part) {
      threads.emplace_back([&fn, part, parts] { fn(part, parts); });
    }
    for (std::thread& t : threads) t.join();
  }

  std::vector<std::byte> bytes_;
};

INSTANTIATE_TEST_SUITE_P(, BlockOpsTest, testing::Values(64, 2048, 4096 + 64, 1000, 24));

TEST_P(BlockOpsTest, CopiesHappenInOrderInEveryByteWithAnyNumberOfThreads) {
  // A chain, a swap through a third block, a copy onto itself, a block read and then overwritten.
  const std::vector<BlockCopy> copies =
      {{1, 2}, {2, 3}, {3, 4}, {7, 10}, {8, 7}, {10, 8}, {5, 5}, {9, 11}, {12, 9}};
  const std::vector<std::byte> before = bytes_;
  std::vector<int> holds(kBlocks);  // which original block each block holds
  for (int i = 0; i < kBlocks; ++i) holds[i] = i;
  for (const BlockCopy& c : copies) holds[c.destination] = holds[c.source];
  for (const int parts : {1, 2, 3, 7, 64}) {
    bytes_ = before;
    InParts(parts, [&](int part, int n) { CopyBlocks(memory(), copies, part, n); });
    for (int i = 0; i < kBlocks; ++i) {
      EXPECT_EQ(std::memcmp(&bytes_[i * GetParam()], &before[holds[i] * GetParam()], GetParam()), 0)
          << "block " << i << ", " << parts << " parts";
    }
  }
}

TEST_P(BlockOpsTest, FillsTheNamedBlocksAndNoOthers) {
  const std::vector<int32_t> blocks = {0, 3, kBlocks - 1};
  for (const uint8_t byte : {uint8_t{0}, kPoisonByte}) {
    for (const int parts : {1, 2, 5}) {
      const std::vector<std::byte> before = bytes_;
      InParts(parts, [&](int part, int n) { FillBlocks(memory(), blocks, byte, part, n); });
      for (size_t i = 0; i < bytes_.size(); ++i) {
        const size_t block = i / GetParam();
        const bool named = block == 0 || block == 3 || block == kBlocks - 1;
        ASSERT_EQ(bytes_[i], named ? std::byte{byte} : before[i]) << "byte " << i;
      }
      for (std::byte& b : bytes_) b ^= std::byte{0x55};
    }
  }
}

TEST(BlockOps, PoisonIsNaNInEveryElementType) {
  std::vector<std::byte> bytes(256);
  const std::vector<int32_t> blocks = {0};
  FillBlocks({bytes.data(), bytes.size()}, blocks, kPoisonByte, 0, 1);
  float f32;
  uint16_t b16;
  std::memcpy(&f32, bytes.data() + 100, sizeof f32);
  std::memcpy(&b16, bytes.data() + 102, sizeof b16);
  EXPECT_TRUE(std::isnan(f32));
  EXPECT_TRUE(std::isnan(Bf16ToF32(b16)));
  EXPECT_TRUE(std::isnan(F16ToF32(b16)));
}

}  // namespace
}  // namespace pagoda::cpu
