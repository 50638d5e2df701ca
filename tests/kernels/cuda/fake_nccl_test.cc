// What NCCL does on no machine that works: the fake's alone.
#include <gtest/gtest.h>

#include "kernels/cuda/nccl_communicator.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/testing/fake_cuda/nccl_comm.h"

namespace pagoda::cuda {
namespace {

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
