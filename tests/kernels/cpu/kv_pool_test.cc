#include "kernels/cpu/kv_pool.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pagoda::cpu {
namespace {

constexpr KvLayout kLayout{.num_layers = 3,
                           .num_kv_heads = 2,
                           .head_dim = 32,
                           .block_size = 16,
                           .dtype = DType::kBf16};

TEST(KvLayoutTest, TilesFillABlockWithoutGapOrOverlap) {
  std::vector<size_t> offsets;
  for (int layer = 0; layer < kLayout.num_layers; ++layer) {
    for (int head = 0; head < kLayout.num_kv_heads; ++head) {
      offsets.push_back(kLayout.KTileOffset(layer, head));
      offsets.push_back(kLayout.VTileOffset(layer, head));
    }
    EXPECT_LT(kLayout.KTileOffset(layer, 1), kLayout.VTileOffset(layer, 0)) << "K before V";
  }
  std::sort(offsets.begin(), offsets.end());
  for (size_t i = 0; i < offsets.size(); ++i) EXPECT_EQ(offsets[i], i * kLayout.TileBytes());
  EXPECT_EQ(kLayout.TileBytes(), 16u * 32 * 2);
  EXPECT_EQ(kLayout.BlockBytes(), offsets.size() * kLayout.TileBytes());
}

TEST(CpuKvPoolTest, BlocksAreZeroedDisjointAndViewedByLayer) {
  const auto pool = CpuKvPool::Make(kLayout, 5);
  ASSERT_TRUE(pool.ok()) << pool.status();
  EXPECT_EQ((*pool)->num_blocks(), 5);
  EXPECT_EQ((*pool)->layout(), kLayout);
  auto* first = static_cast<std::byte*>((*pool)->block(0));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
  for (size_t i = 0; i < 5 * kLayout.BlockBytes(); ++i) ASSERT_EQ(first[i], std::byte{0});
  EXPECT_EQ((*pool)->block(4), first + 4 * kLayout.BlockBytes());

  const KvLayerView view = (*pool)->Layer(2);
  EXPECT_EQ(view.block_bytes, kLayout.BlockBytes());
  EXPECT_EQ(view.base + view.block_bytes + view.head_bytes,
            first + kLayout.BlockBytes() + kLayout.KTileOffset(2, 1));
  EXPECT_EQ(view.base + view.head_bytes + view.v_bytes, first + kLayout.VTileOffset(2, 1));
}

TEST(CpuKvPoolTest, WhatItCannotHoldIsRefusedWithAReason) {
  struct Case {
    void (*change)(KvLayout&);
    int32_t blocks;
    absl::StatusCode code;
    const char* message;
  };
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  const auto kUnbuilt = absl::StatusCode::kUnimplemented;
  for (const Case& test :
       std::vector<Case>{{[](KvLayout& l) { l.block_size = 4; }, 4, kInvalid, "block_size 4"},
                         {[](KvLayout& l) { l.block_size = 24; }, 4, kInvalid, "power of two"},
                         {[](KvLayout& l) { l.block_size = 8192; }, 4, kInvalid, "block_size 8192"},
                         {[](KvLayout& l) { l.head_dim = 40; }, 4, kUnbuilt, "head_dim 40"},
                         {[](KvLayout& l) { l.head_dim = 512; }, 4, kUnbuilt, "head_dim 512"},
                         {[](KvLayout& l) { l.head_dim = 0; }, 4, kUnbuilt, "head_dim 0"},
                         {[](KvLayout& l) { l.num_layers = 0; }, 4, kInvalid, "0 layers"},
                         {[](KvLayout& l) { l.num_kv_heads = -1; }, 4, kInvalid, "-1 heads"},
                         {[](KvLayout& l) { l.dtype = DType::kF16; }, 4, kUnbuilt, "float16"},
                         {[](KvLayout&) {}, 1, kInvalid, "block 0"},
                         {[](KvLayout&) {}, -3, kInvalid, "-3 blocks"},
                         {[](KvLayout& l) {
                            l.num_layers = l.num_kv_heads = l.block_size = 4096;
                            l.head_dim = 256;
                          },
                          2147483647,
                          absl::StatusCode::kResourceExhausted,
                          "2147483647 blocks"}}) {
    KvLayout layout = kLayout;
    test.change(layout);
    const absl::Status status = CpuKvPool::Make(layout, test.blocks).status();
    EXPECT_EQ(status.code(), test.code) << test.message;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(test.message));
  }
}

TEST(CpuKvPoolTest, MoreMemoryThanThereIsIsAStatus) {
  KvLayout layout = kLayout;
  layout.num_layers = 1024;
  const absl::Status status = CpuKvPool::Make(layout, 2147483647).status();  // 8 PiB
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

}  // namespace
}  // namespace pagoda::cpu
