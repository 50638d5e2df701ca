// The communicator of a group of one rank: every operation is the identity.
#pragma once

#include <memory>

#include "kernels/comm/communicator.h"

namespace pagoda {

std::unique_ptr<Communicator> MakeSingleCommunicator();

}  // namespace pagoda
