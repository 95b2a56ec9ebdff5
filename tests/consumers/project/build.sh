#!/bin/sh
# As in many a README: build.sh OUTPUT [--static]
# CC, CXX, CPPFLAGS and LDFLAGS as usual.
set -eu
cd "$(dirname "$0")"
mkdir -p "$1"
flags="-Wall -Wextra -Werror ${CPPFLAGS-} $(pkg-config --cflags fuse3)"
libs="${LDFLAGS-} $(pkg-config ${2-} --libs fuse3)"
[ -z "${2-}" ] || libs="-static $libs"
${CC:-cc} note_ll.c $flags $libs -o "$1/note_ll"
${CC:-cc} note_path.c $flags $libs -o "$1/note_path"
${CXX:-c++} -std=c++11 note_main.cpp $flags $libs -o "$1/note_main"
