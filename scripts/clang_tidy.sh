#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy) over what is not a test; any finding is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh asan generated # the preset that compiles everything with clang
run-clang-tidy-16 -quiet -p build/asan -j "$(nproc)" "^$PWD/(?!build/|tests/)"
