#include "coordinator/core/kv/block_table.h"

#include <utility>

#include "common/check.h"

namespace pagoda::core {

BlockTable::BlockTable(BlockTable&& other) noexcept
    : blocks_(std::exchange(other.blocks_, {})),
      tokens_(std::exchange(other.tokens_, 0)),
      writable_end_(std::exchange(other.writable_end_, 0)) {}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  CHECK(empty()) << " a table with " << blocks_.size() << " blocks would be lost";
  blocks_ = std::exchange(other.blocks_, {});
  tokens_ = std::exchange(other.tokens_, 0);
  writable_end_ = std::exchange(other.writable_end_, 0);
  return *this;
}

BlockTable::~BlockTable() {
  CHECK(empty()) << " a table with " << blocks_.size() << " blocks was not handed back";
}

}  // namespace pagoda::core
