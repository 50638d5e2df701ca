#!/usr/bin/env bash
# The body of `make demo`, after the programs are built.
set -euo pipefail
cd "$(dirname "$0")/.."
exec build/release/bin/pagoda --version
