// A rank's piece of memory that the other ranks of its host map too. It has no name in any file
// system and goes with the last process that maps it, however that ends.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace pagoda {

class LocalSegment {
 public:
  // Bytes that a rank may give in one exchange.
  static constexpr size_t kSlotBytes = size_t{512} << 10;
  static constexpr int kSlots = 2;

  struct Layout {
    uint64_t token;  // random: says that this is the segment that was meant
    // Exchanges that the owner has begun, modulo 2^32; means nothing once `dead` is set.
    alignas(64) std::atomic<uint32_t> begun;
    alignas(64) std::atomic<uint32_t> sleepers;  // on `begun`
    std::atomic<uint32_t> dead;                  // 1: the communicator has ended
    alignas(4096) std::byte slots[kSlots][kSlotBytes];
  };

  // RESOURCE_EXHAUSTED without memory.
  static absl::StatusOr<LocalSegment> Create();
  // The segment of another process of this user on this host, or of this one, by its name.
  // FAILED_PRECONDITION when it is not there (any more).
  static absl::StatusOr<LocalSegment> Attach(const std::string& name);

  LocalSegment(LocalSegment&& other) noexcept;
  LocalSegment& operator=(LocalSegment&& other) noexcept;
  ~LocalSegment();

  // For Attach, as long as the creator lives.
  const std::string& name() const { return name_; }
  Layout* operator->() const { return layout_; }

 private:
  LocalSegment(int fd, Layout* layout, std::string name)
      : fd_(fd), layout_(layout), name_(std::move(name)) {}
  static absl::StatusOr<LocalSegment> Map(int fd, std::string name);

  int fd_ = -1;  // -1: moved from
  Layout* layout_ = nullptr;
  std::string name_;
};

// Equal for processes that can attach each other's segments: one boot, one process namespace, one
// user.
std::string HostIdentity();

}  // namespace pagoda
