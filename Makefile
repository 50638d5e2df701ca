# A thin front: every target is a script or a command one can run alone.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench cuda-toolkit gpu-bundle gpu-test format clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install what is missing (Debian 12; asks sudo when not root)
	@scripts/setup.sh

demo: setup ## build the programs and run the demo
	scripts/build.sh release pagoda pagoda-coordinator pagoda-demo pagoda-worker
	scripts/demo.sh

test: setup ## build everything and run every test
	scripts/test.sh

check: setup ## make test, nvcc, sanitizers, more seeds, mutants, clang-tidy (at most 50 min)
	scripts/check.sh

bench: setup ## build and run the benchmarks
	scripts/build.sh release
	scripts/bench.sh

cuda-toolkit: setup ## find or fetch CUDA 13, cuBLAS and NCCL (705 MB of PyPI packages) into a cache
	scripts/cuda_toolkit.sh

gpu-bundle: setup ## what gpu-test needs on another machine with a GPU, as build/gpu-bundle.tar.xz
	scripts/gpu_bundle.sh

gpu-test: ## on this machine's GPU: tests, compute-sanitizer, kernel benchmarks (at most 8 min)
	scripts/gpu_test.sh

format: setup ## format the C++ sources
	scripts/format.sh

clean: ## remove everything built
	rm -rf build
