#!/usr/bin/env bash
# The body of `make bench`: runs every benchmark program of the release build, one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
found=0
for program in build/release/bin/*_bench; do
  [ -x "$program" ] || continue
  if [ "$program" = build/release/bin/cuda_bench ]; then
    echo "bench: not run: $program is for the fake device; on a GPU: make gpu-test"
    continue
  fi
  found=1
  echo "bench: $program"
  "$program"
done
if [ "$found" -eq 0 ]; then
  echo "bench: no build/release/bin/*_bench" >&2
  exit 1
fi
