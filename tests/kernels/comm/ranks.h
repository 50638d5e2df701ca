// The ranks of a group as threads of this process, with a communicator each.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/comm/rendezvous.h"

namespace pagoda::testing {

// Connected by both phases of a rendezvous. CHECK-fails where that cannot be done.
std::vector<std::unique_ptr<Communicator>> ConnectRanks(int size, CommBackend backend);

// Calls `body` for every rank, a thread each, and waits for all.
void RunRanks(const std::vector<std::unique_ptr<Communicator>>& ranks,
              const std::function<void(Communicator& comm)>& body);

}  // namespace pagoda::testing
