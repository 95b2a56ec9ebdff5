#!/bin/bash
# Compares the speed with the libfuse3 of this system. As root, rings are on
# meanwhile, where the kernel has them, and set back afterwards.
# usage: bench.sh [OPTION...], see bench.sh --help
set -euo pipefail
. "$(dirname "$0")/lib.sh"
trap await_restoration EXIT
trap 'exit 130' INT TERM
load_fuse
"$top/scripts/cargo.sh" bench --bench compare -- "$@"
