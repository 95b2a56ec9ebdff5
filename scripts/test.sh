#!/bin/bash
# Runs all tests on the build in build/. As root, rings are on meanwhile, where
# the kernel has them; the machine is left as it was found.
# usage: test.sh [ARGUMENT OF cargo test...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
trap restore_rings EXIT
trap 'exit 130' INT TERM
enable_rings
say "rings: $rings_why"
"$top/scripts/cargo.sh" test --no-fail-fast "$@"
