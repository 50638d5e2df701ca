// Every operation, over any way between ranks: instantiated once for each.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/kernels/comm/ranks.h"

namespace pagoda::testing {

using CommCase = std::tuple<CommBackend, int>;  // and the number of ranks

class CommunicatorTest : public ::testing::TestWithParam<CommCase> {
 protected:
  std::vector<std::unique_ptr<Communicator>> Connect() const {
    return ConnectRanks(std::get<1>(GetParam()), std::get<0>(GetParam()));
  }
};

inline std::string Ranks(const ::testing::TestParamInfo<CommCase>& info) {
  return std::to_string(std::get<1>(info.param));
}

}  // namespace pagoda::testing
