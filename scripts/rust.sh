#!/usr/bin/env bash
# Builds the project's one Rust static library into build/rust, for every CMake preset.
#   rust.sh               builds build/rust/release/libpagoda_text.a
#   rust.sh --test        runs the library's own tests
#   rust.sh --find-cargo  prints the cargo that would be used
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-$(command -v cargo || true)}
if [ -z "$cargo" ] && [ -x "$HOME/.cargo/bin/cargo" ]; then
  cargo=$HOME/.cargo/bin/cargo
  export PATH="$HOME/.cargo/bin:$PATH" # cargo looks for rustc there
fi
if [ -z "$cargo" ]; then
  echo "rust.sh: no cargo; run scripts/setup.sh" >&2
  exit 1
fi
if [ "${1:-}" = --find-cargo ]; then
  echo "$cargo"
  exit 0
fi

crate=coordinator/text/rust
archive=build/rust/release/libpagoda_text.a
options=(--release --locked --manifest-path "$crate/Cargo.toml")
export CARGO_TARGET_DIR=build/rust
if [ "${1:-}" = --test ]; then
  exec "$cargo" test "${options[@]}"
fi
"$cargo" build --quiet "${options[@]}"
# cargo leaves the archive alone when an input changed its time but not its meaning; without a touch
# ninja would call this script in every build.
if [ -n "$(find "$crate" -type f -newer "$archive" -print -quit)" ]; then
  touch "$archive"
fi
