#!/bin/bash
# Called by meson: builds the Rust half as a static library and copies it to
# OUTPUT if it changed, so that nothing is linked again without need.
# usage: build-rust.sh TARGET_DIR OUTPUT
set -euo pipefail
output=$(realpath "$2")
mkdir -p "$1"
CARGO_TARGET_DIR=$(realpath "$1")
export CARGO_TARGET_DIR
# As a static library alone: beside an rlib, cargo leaves out the LTO.
"$(dirname "$0")/cargo.sh" rustc --lib --crate-type staticlib --release --quiet
built=$CARGO_TARGET_DIR/${CARGO_BUILD_TARGET:-}/release/libringfuse.a
cmp -s "$built" "$output" || cp "$built" "$output"
