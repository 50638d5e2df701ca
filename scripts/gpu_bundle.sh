#!/usr/bin/env bash
# gpu_bundle.sh           build/gpu-bundle.tar.xz
# gpu_bundle.sh --build   builds the programs in it, no more
# The bundle has what its gpu_test.sh needs on another x86-64 Linux machine that has an NVIDIA
# driver and CUDA 13's libraries: programs, the shared libraries that they load, the demo model. Not
# in it: glibc, the driver's libraries, CUDA's.
set -euo pipefail
cd "$(dirname "$0")/.."

# Of build/cuda; each is made by the target of its name.
programs=(
  bin/cuda_bench
  bin/pagoda
  bin/pagoda-coordinator
  bin/pagoda-worker
  bin/pagoda-worker-cpu
  tests/cuda_comm_test
  tests/cuda_demo_test
  tests/cuda_e2e_test
  tests/cuda_equality_test
  tests/kernels_cuda_test
)
most_bytes=40000000
archive=build/gpu-bundle.tar.xz
bundle=build/gpu-bundle/pagoda-gpu

glibc='ld-linux-x86-64|libanl|libc|libdl|libm|libmvec|libnsl|libnss_[a-z]+|libpthread|libresolv'
glibc+='|librt|libutil'
theirs="^($glibc|libcuda|libnvidia[-a-z]*|libcudart|libcublas(Lt)?|libnccl)\\.so"

fail() {
  echo "gpu-bundle: $*" >&2
  exit 1
}

# NAME PATH of the shared libraries that FILE... load and that are not the other machine's own; PATH
# is "not" where there is none.
libraries_of() {
  ldd "$@" | awk -v theirs="$theirs" '$2 == "=>" && $1 !~ theirs { print $1, $3 }' | sort -u
}

take_programs() {
  local program
  for program in "${programs[@]}"; do
    mkdir -p "$bundle/$(dirname "$program")"
    cp "build/cuda/$program" "$bundle/$program"
    cmake -D FILE="$PWD/$bundle/$program" -P cmake/remove_rpath.cmake
  done
}

# The compiler's libraries lie apart: a machine whose own are new enough uses those, since these
# need this machine's glibc.
take_libraries() {
  local name path folder
  mkdir -p "$bundle/lib/gcc"
  while read -r name path; do
    [ "$path" != not ] || fail "a program needs $name, which this machine lacks"
    folder=$bundle/lib
    [[ ! $name =~ ^lib(stdc\+\+|gcc_s)\. ]] || folder+=/gcc
    cp --dereference "$path" "$folder/$name"
  done < <(libraries_of "${programs[@]/#/build/cuda/}")
}

# Nothing of ours may come from outside of the bundle, nor be looked for in this machine's folders.
check_libraries() {
  local name path program lib=$PWD/$bundle/lib
  while read -r name path; do
    [[ $path = "$lib/"* ]] || fail "$name comes from $path"
  done < <(LD_LIBRARY_PATH=$lib:$lib/gcc libraries_of "${programs[@]/#/$bundle/}")
  for program in "${programs[@]}"; do
    if readelf --dynamic "$bundle/$program" | grep -E 'R(UN)?PATH'; then
      fail "$program has a path of this machine"
    fi
  done
}

newest() { # PREFIX FOLDER...: the newest version of PREFIX that files there ask for
  find "${@:2}" -type f -exec objdump --dynamic-syms {} + | grep -oE "\<$1_[0-9.]+" | sort -Vu |
    tail -n 1
}

scripts/build.sh cuda "${programs[@]##*/}"
[ "${1:-}" != --build ] || exit 0

rm -rf build/gpu-bundle "$archive"
mkdir -p "$bundle/models"
take_programs
take_libraries
find "$bundle" -type f -exec strip --strip-unneeded {} +
check_libraries
mkdir "$bundle/models/demo"
find models/demo -maxdepth 1 -type f -exec cp {} "$bundle/models/demo/" \;
cp scripts/gpu_test.sh LICENSE "$bundle/"
git describe --always --dirty --abbrev=12 --exclude='*' >"$bundle/COMMIT"
tar --create --directory "$(dirname "$bundle")" --sort=name --owner=0 --group=0 \
  "$(basename "$bundle")" | xz --threads=0 >"$archive"

bytes=$(stat --format=%s "$archive")
echo "gpu-bundle: $archive: $bytes bytes (at most $most_bytes), commit $(cat "$bundle/COMMIT")," \
  "${#programs[@]} programs, $(find "$bundle/lib" -type f | wc -l) libraries"
mapfile -t ours < <(find "$bundle"/{bin,tests,lib} -type f -not -path '*/gcc/*')
echo "gpu-bundle: needs $(newest GLIBC "${ours[@]}") and a libstdc++ with" \
  "$(newest GLIBCXX "${ours[@]}"), or $(newest GLIBC "$bundle/lib/gcc") for the libstdc++ in it"
[ "$bytes" -le "$most_bytes" ] || fail "$archive is too large"
