#!/usr/bin/env bash
# setup.sh [PACKAGE...]: installs what the build needs and the packages named, as far as this
# Debian 12 machine lacks them; quick when nothing is missing.
set -euo pipefail

packages=(
  # Compilers and build tools. clang-16 builds the sanitizer presets, llvm-16 has their symbolizer.
  ca-certificates ccache clang-16 clang-format-16 clang-tidy-16 cmake g++ git libclang-rt-16-dev
  llvm-16 make ninja-build pkg-config python3
  # Libraries.
  libabsl-dev libbenchmark-dev libboost-context1.81-dev libgloo-dev libgmock-dev libgrpc++-dev
  libgtest-dev libprotobuf-dev nlohmann-json3-dev protobuf-compiler protobuf-compiler-grpc
)
oldest_cargo=1.85

fail() {
  echo "setup: $*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "installing packages needs root, and there is no sudo; run as root: $*"
  fi
}

missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    grep -qxF "$package installed" <<<"$installed" || echo "$package"
  done
}

cargo_is_new_enough() {
  local cargo version
  cargo=$("$(dirname "$0")/rust.sh" --find-cargo 2>/dev/null) || return 1
  version=$("$cargo" --version 2>/dev/null | cut -d ' ' -f 2) || return 1
  [ "$(printf '%s\n' "$oldest_cargo" "$version" | sort -V | head -n 1)" = "$oldest_cargo" ]
}

command -v dpkg-query >/dev/null ||
  fail "this is not a Debian system (Debian 12 is tried); install by hand: ${packages[*]}," \
    "and Rust >= $oldest_cargo"

mapfile -t missing < <(missing_packages "${packages[@]}" "$@")
cargo_is_new_enough || missing+=(cargo-web rustc-web)
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: nothing is missing"
  exit 0
fi

echo "setup: missing: ${missing[*]}"
echo "setup: apt-get update"
as_root apt-get -qq update || fail "apt-get update failed"
echo "setup: apt-get install"
as_root env DEBIAN_FRONTEND=noninteractive \
  apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null ||
  fail "apt-get install failed"
cargo_is_new_enough || fail "no cargo >= $oldest_cargo after installing it"
echo "setup: done"
