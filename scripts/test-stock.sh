#!/bin/bash
# Builds the test filesystems against the libfuse3 that this system has, and
# runs the tests on that: what they expect must be what libfuse does. Tests of
# what only ringfuse does, or does otherwise, say that they are skipped.
# usage: test-stock.sh [ARGUMENT OF cargo test...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
programs=$build/stock
# Not lifecycle: the loop of libfuse 3.14 ends with ECONNABORTED now and then when
# its mount goes.
suites=(ops dirs io locks notify interrupts threads blkdev)

flags=$(pkg-config --cflags --libs fuse3 2>/dev/null) ||
    die "no libfuse3 to compare with (on Debian: apt-get install libfuse3-dev)"
mkdir -p "$programs"
compile() {
    local name=$1
    shift
    # shellcheck disable=SC2086 # several flags
    (cd "$top/tests/fs" && cc -g -O1 "$name.c" "$@" serve.c $flags -pthread -o "$programs/$name")
}
compile trace_ll trace_files.c trace_dirs.c trace_commands.c nodes.c
compile engine_ll
compile lifecycle_ll
compile path_trace path_trace_files.c path_trace_dirs.c
# shellcheck disable=SC2086 # several flags
(cd "$top/tests/fs" && cc -g -O1 path_main.c $flags -rdynamic -o "$programs/path_main" &&
    cc -g -O1 -shared -fPIC path_loud.c $flags -o "$programs/libfusemod_loud.so")
library=$(ldd "$programs/trace_ll" | awk '/libfuse3/ { print $3 }')
if grep -q ringfuse_version "$library"; then
    say "skipped: tests on libfuse, in whose place ringfuse is installed ($library)"
    exit 0
fi
say "Tests on $library, libfuse $(pkg-config --modversion fuse3)"
# What these expect was seen of 3.14; 3.17 interrupts and ends otherwise.
if ! pkg-config --atleast-version=3.15 fuse3; then
    suites+=(high high_main)
else
    say "skipped: high, high_main: they know libfuse up to 3.14, this is $(pkg-config --modversion fuse3)"
fi
unset RINGFUSE_TEST_CALLS RINGFUSE_TEST_LIBDIR
export RINGFUSE_TEST_STOCK=1 RINGFUSE_TEST_BUILD=$programs
"$top/scripts/cargo.sh" test --quiet --no-fail-fast "${suites[@]/#/--test=}" "$@"
