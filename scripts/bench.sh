#!/bin/bash
# Compares the speed with the libfuse3 of this system. As root, rings are on
# meanwhile, where the kernel has them, and set back afterwards.
# usage: bench.sh [OPTION...], see bench.sh --help
set -euo pipefail
. "$(dirname "$0")/lib.sh"
trap restore_rings EXIT
trap 'exit 130' INT TERM
enable_rings
say "rings: $rings_why"
"$top/scripts/cargo.sh" bench --bench compare -- "$@"
