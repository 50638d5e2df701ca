#include "tests/kernels/comm/communicator_suite.h"

namespace pagoda::testing {

const auto kCases = ::testing::Combine(::testing::Values(OnHost<CommBackend::kLocal>()),
                                       ::testing::Values(2, 4, 8));
INSTANTIATE_TEST_SUITE_P(Local, CommunicatorTest, kCases, Ranks);
INSTANTIATE_TEST_SUITE_P(Local, PeersEndTest, kCases, Ranks);

}  // namespace pagoda::testing
