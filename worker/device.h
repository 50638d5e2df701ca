// The kind of device that this worker is built for; CMake picks the file behind it.
#pragma once

#include "common/server_flags.h"
#include "kernels/backend.h"

namespace pagoda {

BackendFactory DeviceOf(const ServerFlags& flags);

}  // namespace pagoda
