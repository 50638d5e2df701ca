// A mesh over shared memory, for ranks that are processes or threads of one host. A rank writes
// what it gives into one of two slots of its own segment and counts the exchange; its peers read it
// there. Waits are a short spin, then futex(2). A peer that dies in silence is noticed at the
// deadline.
#pragma once

#include <memory>
#include <vector>

#include "kernels/comm/local_segment.h"
#include "kernels/comm/mesh.h"

namespace pagoda {

// `segments` by rank, `rank`'s own among them.
std::unique_ptr<Mesh> MakeLocalMesh(int rank, std::vector<LocalSegment> segments);

}  // namespace pagoda
