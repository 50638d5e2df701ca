#!/usr/bin/env bash
# build.sh PRESET [TARGET...]: configures a preset into build/PRESET and builds it.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
if [ "$preset" = cuda ]; then
  PAGODA_CUDA_HOME=$(scripts/cuda_toolkit.sh)
  export PAGODA_CUDA_HOME
fi
cmake --preset "$preset" --log-level=WARNING >/dev/null
if [ $# -eq 0 ]; then
  set -- all
fi
exec cmake --build "build/$preset" --parallel "$(nproc)" --target "$@"
