// What the coordinator is told of a loaded model.
#pragma once

#include "proto/pagoda/v1/worker.pb.h"
#include "worker/runner/runner.h"

namespace pagoda {

v1::ModelInfo MakeModelInfo(const Runner& runner);

}  // namespace pagoda
