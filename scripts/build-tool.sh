#!/bin/bash
# Called by meson: builds the command ringfuse and copies it to OUTPUT if it
# changed. LIBDIR is where the libraries are installed, relative to the prefix.
# For another machine, the TARGET, the C compiler CC links it; but for musl rustc does
# with its own parts, which musl-gcc cannot make a static PIE of.
# usage: build-tool.sh TARGET_DIR OUTPUT LIBDIR [TARGET]
set -euo pipefail
output=$(realpath "$2")
mkdir -p "$1"
CARGO_TARGET_DIR=$(realpath "$1")
export CARGO_TARGET_DIR RINGFUSE_LIBDIR=$3
options=()
if [ -n "${4-}" ]; then
    options+=(--target "$4")
    linker=CARGO_TARGET_${4//-/_}_LINKER
    [[ $4 == *-musl* ]] || export "${linker^^}=$CC"
fi
"$(dirname "$0")/cargo.sh" build --package ringfuse-tool --release --quiet "${options[@]}"
built=$CARGO_TARGET_DIR/${4:-${CARGO_BUILD_TARGET:-}}/release/ringfuse
cmp -s "$built" "$output" || cp "$built" "$output"
