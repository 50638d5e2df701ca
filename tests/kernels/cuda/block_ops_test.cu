// Whole-block operations on a device against a plain loop.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/cuda/block_ops.h"
#include "tests/kernels/cuda/device_array.h"

namespace pagoda::cuda {
namespace {

constexpr size_t kBlockBytes = 256 * 16 * 2 + 48;  // not a multiple of a CTA's share
constexpr int kBlocks = 6;

std::vector<std::byte> Bytes() {
  std::vector<std::byte> bytes(kBlocks * kBlockBytes);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 256);
  return bytes;
}

TEST(BlockOps, CopiesWholeBlocksInOrder) {
  const Stream stream = MakeStreamOrDie();
  const std::vector<BlockCopy> copies = {{1, 2}, {2, 4}, {5, 1}, {1, 0}};
  std::vector<std::byte> want = Bytes();
  for (const BlockCopy& copy : copies) {
    std::copy_n(want.begin() + copy.source * kBlockBytes,
                kBlockBytes,
                want.begin() + copy.destination * kBlockBytes);
  }
  const DeviceArray<std::byte> pool(Bytes(), stream);
  ASSERT_CUDA(RunCopyBlocks({pool.data(), kBlockBytes}, copies, stream.get()));
  EXPECT_EQ(pool.Download(), want);
}

TEST(BlockOps, ALongListKeepsItsOrder) {
  const Stream stream = MakeStreamOrDie();
  std::vector<BlockCopy> copies;  // the byte of block 0 goes round and round
  for (int i = 0; i < 1001; ++i) copies.push_back({i % kBlocks, (i + 1) % kBlocks});
  const DeviceArray<std::byte> pool(Bytes(), stream);
  ASSERT_CUDA(RunCopyBlocks({pool.data(), kBlockBytes}, copies, stream.get()));
  const std::vector<std::byte> got = pool.Download(), bytes = Bytes();
  for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], bytes[i % kBlockBytes]) << i;
}

TEST(BlockOps, ZeroesTheNamedBlocksAlone) {
  const Stream stream = MakeStreamOrDie();
  std::vector<std::byte> want = Bytes();
  for (const int block : {0, 3}) {
    std::fill_n(want.begin() + block * kBlockBytes, kBlockBytes, std::byte{0});
  }
  const DeviceArray<std::byte> pool(Bytes(), stream);
  ASSERT_CUDA(RunZeroBlocks({pool.data(), kBlockBytes}, {3, 0}, stream.get()));
  EXPECT_EQ(pool.Download(), want);
}

}  // namespace
}  // namespace pagoda::cuda
