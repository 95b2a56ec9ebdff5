#!/bin/bash
# Runs clippy, where it is installed, and all tests, on the build in build/. As
# root, rings are on meanwhile, where the kernel has them; the machine is left
# as it was found.
# usage: test.sh [ARGUMENT OF cargo test...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cargo=$top/scripts/cargo.sh
trap await_restoration EXIT
trap 'exit 130' INT TERM
load_fuse
status=0
if cargo clippy --version >/dev/null 2>&1; then
    "$cargo" clippy --quiet --all-targets || status=$?
else
    say "skipped: clippy, which this toolchain does not have"
fi
"$cargo" test --no-fail-fast "$@" || status=$?
exit "$status"
