#!/usr/bin/env bash
# The body of `make test`: builds every target of the release preset and runs every test.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh release
exec ctest --test-dir build/release --parallel "$(nproc)" --output-on-failure --no-tests=error
