#!/bin/bash
# Builds everything into build/: meson, which calls cargo.
# usage: build.sh [MESON_OPTION...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
if [ ! -e "$build/build.ninja" ]; then
    meson setup "$build" "$top" "$@"
elif [ $# -gt 0 ]; then
    meson configure "$build" "$@"
fi
ninja -C "$build"
