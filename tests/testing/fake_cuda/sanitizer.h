// What the fake device tells AddressSanitizer; nothing without it.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define PAGODA_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PAGODA_ADDRESS_SANITIZER 1
#endif
#endif

#ifdef PAGODA_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace pagoda::fake_cuda {

#ifdef PAGODA_ADDRESS_SANITIZER
inline constexpr bool kAddressSanitizer = true;
inline void Poison(const void* p, size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void Unpoison(const void* p, size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
#else
inline constexpr bool kAddressSanitizer = false;
inline void Poison(const void*, size_t) {}
inline void Unpoison(const void*, size_t) {}
#endif

}  // namespace pagoda::fake_cuda
