#!/usr/bin/env bash
# Proves that the fake device can fail. In a copy of the sources, one at a time:
#   each barrier and each wait for asynchronous copies, an event or a stream in kernels/cuda is
#   deleted;
#   each patch of this folder is applied.
# The file's tests must notice in some schedule, or survivors.txt says why they cannot. The copy as
# it is must pass.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
mutants=$PWD/tests/testing/fake_cuda/mutants
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git ls-files --cached --others --exclude-standard -- CMakeLists.txt cmake common kernels worker \
  coordinator client bench tests ':!tests/golden' | tar -cf - -T - | tar -xf - -C "$work"
cd "$work"
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1
cmake -S . -B build -G Ninja -DPAGODA_PURE=ON -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_FLAGS=-Wno-unused-but-set-variable "${launcher[@]}" >/dev/null

passes() { # FILE: its tests, in every schedule; the output in run.log
  local test=kernels_cuda_test
  [[ $1 != *_communicator.* ]] || test=cuda_comm_test
  cmake --build build --target "$test" >build.log 2>&1 || { cat build.log; exit 2; }
  (
    export GTEST_REPEAT=5 GTEST_BREAK_ON_FAILURE=1 PAGODA_FAKE_CUDA_DEVICES=8
    timeout 120 "build/tests/$test" >run.log 2>&1 || exit 1
  ) 2>/dev/null # of which the shell would tell that it crashed
}

why() { grep -m1 -oE '\[ RUN +\] .*' <(tac run.log) | sed 's/\[ RUN *\] //'; }

caught=0 survived=0 excused=0
try() { # NAME FILE: runs the file's tests on what is now in the copy
  if ! passes "$2"; then
    echo "caught   $1: $(why)"
    caught=$((caught + 1))
  elif reason=$(awk -F '\t' -v name="$1" '$1 == name { print $2 }' "$mutants/survivors.txt") &&
    [ -n "$reason" ]; then
    echo "excused  $1: $reason"
    excused=$((excused + 1))
  else
    echo "SURVIVED $1"
    survived=$((survived + 1))
  fi
}

for file in kernels/cuda/{linear.cu,staged_communicator.cc}; do
  passes "$file" || { echo "the tests fail without any mutant:"; tail -n 20 run.log; exit 1; }
done

barriers='__sync(threads|warp)\(\);|CopyAsyncWait<[^>]*>\(\);'
waits='cuda(Stream|Event|Device)(WaitEvent|Synchronize)\([^()]*(\([^()]*\)[^()]*)*\)'
while IFS=: read -r file line text; do
  cp "$file" original
  sed -Ei -e "${line}s/$barriers/;/" -e "${line}s/$waits/cudaSuccess/" "$file"
  try "$file: $(sed -E 's/^ +//' <<<"$text")" "$file"
  cp original "$file"
done < <(grep -nE "$barriers|$waits" kernels/cuda/*.cu kernels/cuda/*.cc kernels/cuda/*.h)

patches=0
for patch in "$mutants"/*.patch; do
  patch -p1 --quiet <"$patch"
  try "$(basename "$patch")" ""
  patch -p1 --quiet --reverse <"$patch"
  patches=$((patches + 1))
done
echo "$caught passed, $survived failed, $excused excused"
[ "$survived" -eq 0 ] && [ "$patches" -ge 10 ]
