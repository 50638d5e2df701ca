#!/usr/bin/env bash
# Proves that the simulator can fail: applies each patch of this folder to a copy of the sources,
# rebuilds core and simulator only, and expects the simulator to notice. The unpatched copy must
# pass.
set -euo pipefail
cd "$(dirname "$0")/../../.."
mutants=$PWD/tests/sim/mutants
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git ls-files --cached --others --exclude-standard -- CMakeLists.txt cmake common kernels worker \
  coordinator client bench tests ':!tests/golden' | tar -cf - -T - | tar -xf - -C "$work"
cd "$work"
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1
cmake -S . -B build -G Ninja -DPAGODA_PURE=ON -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_CXX_FLAGS=-Wno-unused-parameter "${launcher[@]}" >/dev/null

simulate() { # builds and runs; the output in sim.log
  cmake --build build --target sim_test >build.log 2>&1 || { cat build.log; exit 2; }
  PAGODA_SIM_SEEDS=400 timeout 20 build/tests/sim_test >sim.log 2>&1 || return 1
}

simulate || { echo "the unpatched simulator fails:"; tail -n 20 sim.log; exit 1; }
caught=0 survived=0
for patch in "$mutants"/*.patch; do
  patch -p1 --quiet <"$patch"
  if simulate; then
    echo "SURVIVED $(basename "$patch")"
    survived=$((survived + 1))
  else
    why=$(grep -m1 -oE 'Which is: ".*"|CHECK.*failed.*' sim.log || echo 'crash or time-out')
    echo "caught   $(basename "$patch"): $why"
    caught=$((caught + 1))
  fi
  patch -p1 --quiet --reverse <"$patch"
done
echo "$caught passed, $survived failed"
[ "$survived" -eq 0 ] && [ "$caught" -ge 8 ]
