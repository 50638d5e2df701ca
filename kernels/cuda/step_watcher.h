// Waits for the ends of steps on a thread of its own, so that whoever queues them need not.
#pragma once

#include <cuda_runtime.h>

#include <deque>
#include <functional>
#include <thread>

#include "common/mutex.h"

namespace pagoda::cuda {

class StepWatcher {
 public:
  StepWatcher(int device, std::function<void()> done);
  // Waits for the events that it was given.
  ~StepWatcher();

  // `done` is called, on the watcher's thread, when the recorded event has come or the device is
  // lost. The event outlives that.
  void Watch(cudaEvent_t event) ABSL_LOCKS_EXCLUDED(mutex_);
  // Until all events have come.
  void Wait() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run(int device) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::function<void()> done_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<cudaEvent_t> events_ ABSL_GUARDED_BY(mutex_);  // the first is waited for
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace pagoda::cuda
