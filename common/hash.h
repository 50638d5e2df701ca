// Hash64 is XXH64 as its public specification defines it (Yann Collet, "xxHash fast digest
// algorithm", github.com/Cyan4973/xxHash, doc/xxhash_spec.md). Not a defence against chosen input.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace pagoda {

uint64_t Hash64(absl::string_view bytes, uint64_t seed = 0);

// The hash that coordinator and worker keep over the plans of an epoch; a wire format:
// h = 0, then h = Hash64(bytes, h) per Add. So the borders between Adds count.
class RunningHash {
 public:
  void Add(absl::string_view bytes) { value_ = Hash64(bytes, value_); }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0;
};

}  // namespace pagoda
