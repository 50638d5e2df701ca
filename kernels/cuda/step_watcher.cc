#include "kernels/cuda/step_watcher.h"

#include <utility>

namespace pagoda::cuda {

StepWatcher::StepWatcher(int device, std::function<void()> done)
    : done_(std::move(done)), thread_([this, device] { Run(device); }) {}

StepWatcher::~StepWatcher() {
  {
    MutexLock lock(&mutex_);
    ending_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void StepWatcher::Watch(cudaEvent_t event) {
  MutexLock lock(&mutex_);
  events_.push_back(event);
  changed_.SignalAll();
}

void StepWatcher::Wait() {
  MutexLock lock(&mutex_);
  while (!events_.empty()) changed_.Wait(&mutex_);
}

void StepWatcher::Run(int device) {
  static_cast<void>(cudaSetDevice(device));  // a lost device's error is Collect's to tell
  while (true) {
    cudaEvent_t event = nullptr;
    {
      MutexLock lock(&mutex_);
      while (events_.empty() && !ending_) changed_.Wait(&mutex_);
      if (events_.empty()) return;
      event = events_.front();
    }
    static_cast<void>(cudaEventSynchronize(event));
    done_();
    MutexLock lock(&mutex_);
    events_.pop_front();
    changed_.SignalAll();
  }
}

}  // namespace pagoda::cuda
