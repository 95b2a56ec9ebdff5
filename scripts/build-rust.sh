#!/bin/bash
# Called by meson: builds the Rust half as a static library and copies it to
# OUTPUT if it changed, so that nothing is linked again without need. TIME_BITS
# is the size of C's time_t; without TARGET it is built for this machine.
# usage: build-rust.sh TARGET_DIR OUTPUT TIME_BITS [TARGET]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
output=$(realpath "$2")
mkdir -p "$1"
CARGO_TARGET_DIR=$(realpath "$1")
export CARGO_TARGET_DIR
options=()
[ -z "${4-}" ] || options+=(--target "$4")
# On 32 bits the crate libc believes in 32-bit times unless it is told.
narrow='target_pointer_width = "32"'
[ "$3" != 64 ] || options+=(--config
    "target.'cfg($narrow)'.rustflags=['--cfg=libc_unstable_gnu_time_bits=\"64\"']")
flags=()
case ${4-} in
*-musl*)
    # Rust's own unwinder, which is otherwise left to whoever links: the libgcc that
    # the C compiler has may be one for glibc (Debian's musl-gcc).
    flags+=(-L "native=$(cd "$top" && rustc --print target-libdir --target "$4")/self-contained" -l static=unwind)
    ;;
esac
# As a static library alone: beside an rlib, cargo leaves out the LTO.
"$(dirname "$0")/cargo.sh" rustc --lib --crate-type staticlib --release --quiet "${options[@]}" -- "${flags[@]}"
built=$CARGO_TARGET_DIR/${4:-${CARGO_BUILD_TARGET:-}}/release/libringfuse.a
cmp -s "$built" "$output" || cp "$built" "$output"
