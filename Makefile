# The commands of the project. meson builds (meson.build), cargo tests.
PREFIX ?= /usr/local

help: ## lists the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

demo: ## installs what is missing, builds, and copies a real tree through three filesystems
	@scripts/deps.sh demo
	@scripts/build.sh
	@scripts/demo.sh

test: ## builds, and runs clippy and all tests
	@scripts/deps.sh test
	@scripts/build.sh
	@scripts/test.sh

test-stock: ## runs the tests of single operations on the system's libfuse3
	@scripts/deps.sh test
	@scripts/build.sh
	@scripts/test-stock.sh

coverage: ## prints which test calls what; with what was seen in the last `make test`
	@scripts/coverage.py $(if $(wildcard build/calls),--calls build/calls)

test-asan: ## runs all tests under AddressSanitizer and LeakSanitizer; needs a nightly Rust
	@scripts/deps.sh test
	@scripts/sanitize.sh address

test-tsan: ## runs all tests under ThreadSanitizer; needs a nightly Rust
	@scripts/deps.sh test
	@scripts/sanitize.sh thread

test-ubsan: ## runs all tests with checks for undefined behaviour in C and in Rust
	@scripts/deps.sh test
	@scripts/sanitize.sh undefined

test-valgrind: ## 10,000 requests and a destroy under valgrind (part of make test)
	@scripts/deps.sh test
	@scripts/build.sh
	@scripts/sanitize.sh valgrind

test-kernels: ## runs the tests of tests/vm on a matrix of kernels in qemu
	@scripts/deps.sh test
	@scripts/build.sh
	@scripts/cargo.sh test --test vm -- --ignored --nocapture

test-programs: ## runs unmodified programs of Debian 12, 13 and 14 on the libraries, as root
	@scripts/deps.sh programs
	@scripts/build.sh
	@tests/programs/run

bench: ## compares the speed with libfuse3; BENCH_QUICK=1 for a rough look (docs/performance.md)
	@scripts/deps.sh bench
	@scripts/build.sh
	@scripts/bench.sh

bench-nodes: ## compares what a path of the path API costs, up to 10 million nodes
	@scripts/deps.sh bench
	@scripts/build.sh
	@scripts/bench-paths.py

build: ## builds the libraries, the command ringfuse and the examples into build/
	@scripts/deps.sh build
	@scripts/build.sh

deb: ## builds Debian packages into build/deb
	@scripts/deps.sh deb
	@scripts/build.sh
	@scripts/deb.sh

test-deb: deb ## installs and removes these packages in bare systems of Debian 12 and 13, as root
	@scripts/deps.sh programs
	@tests/install/run

docs: ## builds the reference, HTML and man pages, into build/docs (with doxygen)
	@scripts/deps.sh docs
	@scripts/docs.sh

install: ## builds, and installs into PREFIX (/usr/local), or with IN_PLACE=yes in the place of the system's libfuse3
	@scripts/install.sh $(if $(filter-out no,$(IN_PLACE)),--in-place,$(PREFIX))

uninstall: ## removes what the last install installed, and puts the system's libfuse3 back
	@scripts/install.sh --uninstall

vendor: ## fetches the sources of all crates into vendor/, for building without network
	@scripts/deps.sh build
	@scripts/vendor.sh

clean: ## removes what was built
	rm -rf build target

.PHONY: help demo test test-stock coverage test-asan test-tsan test-ubsan test-valgrind test-kernels test-programs \
	bench bench-nodes build deb test-deb docs install uninstall vendor clean
