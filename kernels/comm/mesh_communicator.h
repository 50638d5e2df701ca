// The collective operations over a mesh. Small messages take one exchange and every rank adds them
// all; large ones are added in parts, a part a rank, and the sums exchanged. Both add each element
// by the same tree, so they give the same bits.
#pragma once

#include <memory>

#include "kernels/comm/communicator.h"
#include "kernels/comm/mesh.h"

namespace pagoda {

// REQUIRES: a size of 2, 4 or 8. `large` is the number of bytes from which on parts are exchanged.
std::unique_ptr<Communicator> MakeMeshCommunicator(std::unique_ptr<Mesh> mesh, size_t large);

}  // namespace pagoda
