// The fake device's memory: one reserved range of addresses, in which every allocation ends before
// an unreadable one. It starts as NaN. Only the device may touch it: outside of DeviceAccess a load
// or a store traps, and so does, always, one of freed memory. Under AddressSanitizer the bytes
// between an allocation's end and its alignment are poisoned too. Thread-safe.
#pragma once

#include <cstddef>

namespace pagoda::fake_cuda {

// As cudaMalloc's.
inline constexpr size_t kDeviceAlignment = 256;

// Null when that much is not left of the device's memory.
void* AllocateDevice(size_t bytes);
// False when `p` is not the start of an allocation.
bool FreeDevice(void* p);
// Whether all of it lies in one live allocation.
bool InDeviceMemory(const void* p, size_t bytes);
// Whether the address is or was of an allocation, or lies between two.
bool IsDeviceAddress(const void* p);

// Page-locked host memory, which an asynchronous copy may read when it comes to it.
void* AllocateHost(size_t bytes);
bool FreeHost(void* p);

size_t DeviceMemoryTotal();
size_t DeviceMemoryUsed();
void SetDeviceMemoryTotal(size_t bytes);

// While one exists the memory can be reached. They may not nest.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace pagoda::fake_cuda
