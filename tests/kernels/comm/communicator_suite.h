// Every operation, over any way between ranks: instantiated once for each.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/kernels/comm/ranks.h"

namespace pagoda::testing {

// How ranks come together, on the host or on a device.
struct CommWay {
  std::vector<std::unique_ptr<Communicator>> (*connect)(int size);
  size_t largest;       // bytes of one operation of a rank that are worth a test
  uint64_t operations;  // how many are
};
using CommCase = std::tuple<CommWay, int>;  // and the number of ranks

class CommunicatorTest : public ::testing::TestWithParam<CommCase> {
 protected:
  std::vector<std::unique_ptr<Communicator>> Connect() const {
    return std::get<0>(GetParam()).connect(std::get<1>(GetParam()));
  }
};

// Of ways on which a rank's end is noticed by the others.
class PeersEndTest : public CommunicatorTest {};

template <CommBackend kBackend>
CommWay OnHost() {
  return {.connect = [](int size) { return ConnectRanks(size, kBackend); },
          .largest = 4'400'000,
          .operations = 400};
}

inline std::string Ranks(const ::testing::TestParamInfo<CommCase>& info) {
  return std::to_string(std::get<1>(info.param));
}

}  // namespace pagoda::testing
