#!/bin/sh
# Called by meson: makes libfuse3.a, one object in which only the names of the C
# API are global, so that a program may also link other Rust libraries.
# LD, OBJCOPY and AR are the binutils of the machine built for.
# usage: archive.sh OUTPUT VERSION_SCRIPT RUST_ARCHIVE C_ARCHIVE
set -eu
output=$1 map=$2 rust=$3 c=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n 's/^\t\([A-Za-z_0-9]*\);$/\1/p' "$map" >"$work/names"
sed 's/^/-u /' "$work/names" >"$work/wanted"
"$LD" -r -o "$work/all.o" @"$work/wanted" --whole-archive "$c" --no-whole-archive "$rust"
# The bitcode of compiler-builtins is of no use here, and confuses LLVM plugins of binutils.
"$OBJCOPY" --keep-global-symbols="$work/names" -R .llvmbc -R .llvmcmd "$work/all.o" "$work/ringfuse.o"
rm -f "$output"
"$AR" crs "$output" "$work/ringfuse.o"
