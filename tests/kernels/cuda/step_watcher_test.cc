#include "kernels/cuda/step_watcher.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "tests/kernels/cuda/device_array.h"

namespace pagoda::cuda {
namespace {

TEST(StepWatcher, SaysThatAStepIsDoneOnceItIs) {
  constexpr int kSteps = 4;
  const Stream stream = MakeStreamOrDie();
  const DeviceArray<int> memory(std::vector<int>(1000), stream);
  std::vector<Event> events;
  for (int i = 0; i < kSteps; ++i) events.push_back(*MakeEvent());
  std::atomic<int> done = 0;
  StepWatcher watcher(0, [&] {
    EXPECT_EQ(cudaEventQuery(events[done].get()), cudaSuccess) << "step " << done;
    ++done;
  });
  watcher.Wait();  // for nothing
  EXPECT_EQ(done, 0);
  for (const Event& event : events) {
    for (int i = 0; i < 50; ++i) {
      ASSERT_CUDA(cudaMemsetAsync(memory.data(), i, 4000, stream.get()));
    }
    ASSERT_CUDA(cudaEventRecord(event.get(), stream.get()));
    watcher.Watch(event.get());
  }
  watcher.Wait();
  EXPECT_EQ(done, kSteps);
}

TEST(StepWatcher, SeesEveryStepToItsEnd) {
  const Stream stream = MakeStreamOrDie();
  const Event event = *MakeEvent();
  int done = 0;
  {
    StepWatcher watcher(0, [&] { ++done; });
    ASSERT_CUDA(cudaEventRecord(event.get(), stream.get()));
    watcher.Watch(event.get());
  }
  EXPECT_EQ(done, 1);
}

}  // namespace
}  // namespace pagoda::cuda
