#!/usr/bin/env bash
# format.sh          formats every C++ source in place
# format.sh --check  fails where that would change one
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
if [ "${1:-}" = --check ]; then
  mode=(--dry-run -Werror)
fi
git ls-files -z -- '*.h' '*.cc' '*.cu' '*.cuh' |
  xargs -0 --no-run-if-empty -n 16 -P "$(nproc)" clang-format-16 "${mode[@]}"
