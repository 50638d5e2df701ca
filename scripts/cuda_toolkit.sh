#!/usr/bin/env bash
# Finds a CUDA 13 toolkit with NCCL or fetches one; the last line of its output is the folder.
#   CUDA_HOME, then /usr/local/cuda, then PAGODA_CUDA_CACHE (~/.cache/pagoda/cuda-<hash>).
# What it fetches is scripts/cuda_wheels.txt: pinned packages of PyPI under NVIDIA's licence.
set -euo pipefail
cd "$(dirname "$0")/.."
wheels=scripts/cuda_wheels.txt

say() { echo "cuda-toolkit: $*" >&2; }

usable() { # FOLDER
  [ -x "$1/bin/nvcc" ] && [ -e "$1/include/cublasLt.h" ] && [ -e "$1/include/nccl.h" ] &&
    "$1/bin/nvcc" --version | grep -q 'release 13\.'
}

for folder in "${CUDA_HOME:-}" /usr/local/cuda; do
  if [ -n "$folder" ] && usable "$folder"; then
    say "found in $folder"
    echo "$folder"
    exit 0
  fi
done

hash=$(sha256sum "$wheels" | cut -c 1-12)
cache=${PAGODA_CUDA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pagoda/cuda-$hash}
if [ -d "$cache" ]; then
  usable "$cache" || { say "$cache is not usable; remove it and run this again" && exit 1; }
  say "found in $cache"
  echo "$cache"
  exit 0
fi

python3 -m pip --version >/dev/null 2>&1 || scripts/setup.sh python3-pip >&2
mkdir -p "$(dirname "$cache")"
part=$(mktemp -d "$cache.XXXXXX")
trap 'rm -rf "$part"' EXIT
say "fetching 705 MB from PyPI into $cache"
python3 -m pip install --quiet --no-deps --no-compile --only-binary :all: --require-hashes \
  --root-user-action=ignore --target "$part/site" --requirement "$wheels" >&2 ||
  { say "pip could not fetch the packages of $wheels" && exit 1; }

# The packages lay the toolkit out as CMake and nvcc expect it, but for three things: NCCL has a
# folder of its own, libraries have no unversioned name, and there is no lib64.
root=$part/site/nvidia/cu13
mv "$part"/site/nvidia/nccl/include/* "$root/include/"
mv "$part"/site/nvidia/nccl/lib/* "$root/lib/"
for library in "$root"/lib/*.so.*; do
  ln -s "$(basename "$library")" "${library%%.so.*}.so"
done
ln -s lib "$root/lib64"
chmod -R a+rX "$root"
usable "$root" || { say "the packages of $wheels do not make a usable toolkit" && exit 1; }
mv -T "$root" "$cache" 2>/dev/null || usable "$cache" || # another run may have been first
  { say "cannot write $cache" && exit 1; }
say "fetched"
echo "$cache"
