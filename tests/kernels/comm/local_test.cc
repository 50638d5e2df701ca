#include "tests/kernels/comm/communicator_suite.h"

namespace pagoda::testing {

INSTANTIATE_TEST_SUITE_P(Local,
                         CommunicatorTest,
                         ::testing::Combine(::testing::Values(CommBackend::kLocal),
                                            ::testing::Values(2, 4, 8)),
                         Ranks);

}  // namespace pagoda::testing
