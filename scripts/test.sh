#!/bin/bash
# Runs clippy, where it is installed, checks that the oldest promised Rust will do, and
# runs all tests, on the build in build/; then some of them on the system's libfuse,
# and the check that nothing public is without a test. As root, rings are on meanwhile,
# where the kernel has them; the machine is left as it was found.
# usage: test.sh [ARGUMENT OF cargo test...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cargo=$top/scripts/cargo.sh
trap await_restoration EXIT
trap 'exit 130' INT TERM
load_fuse
status=0
if cargo clippy --version >/dev/null 2>&1; then
    "$cargo" clippy --quiet --workspace --all-targets || status=$?
else
    say "skipped: clippy, which this toolchain does not have"
fi
# The oldest Rust that is promised, where rustup has it (deps.sh installs it).
oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$top/Cargo.toml")
case "$(rustc --version) $(rustup toolchain list 2>/dev/null)" in
"rustc $oldest."*) ;;
*" $oldest-"* | *$'\n'"$oldest-"*)
    RUSTUP_TOOLCHAIN=$oldest "$cargo" check --quiet --workspace --all-targets --target-dir "$top/target/oldest" ||
        { status=$?; echo "Rust $oldest does not build this, though Cargo.toml promises it" >&2; }
    ;;
*) say "skipped: the build with Rust $oldest, which rustup does not have here" ;;
esac
# Of a whole run, what the filesystems called is kept for coverage.py.
calls=$build/calls
if [ $# -eq 0 ]; then
    rm -rf "$calls"
    mkdir -p "$calls"
    export RINGFUSE_TEST_CALLS=$calls
fi
"$cargo" test --no-fail-fast "$@" || status=$?
[ $# -gt 0 ] || "$cargo" test --package ringfuse-tool || status=$?
if [ $# -eq 0 ]; then
    "$top/scripts/test-stock.sh" || status=$?
    "$top/scripts/coverage.py" --check --calls "$calls" || status=$?
fi
exit "$status"
