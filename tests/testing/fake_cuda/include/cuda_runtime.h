// Stands for CUDA's header of this name where a target is built for the fake device.
#pragma once

#include "tests/testing/fake_cuda/api.h"
#include "tests/testing/fake_cuda/device.h"
