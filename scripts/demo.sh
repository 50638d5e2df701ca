#!/usr/bin/env bash
# The body of `make demo`, after the programs are built. Arguments go to pagoda-demo.
set -euo pipefail
cd "$(dirname "$0")/.."
exec build/release/bin/pagoda-demo "$@"
