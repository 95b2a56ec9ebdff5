#!/bin/bash
# Builds the reference into OUTPUT: html/, from the comments of the headers and
# from the guides, and man3/, a man page per function and structure. Fails, and
# says where, if a name has no description or doxygen does not understand one.
# usage: docs.sh [OUTPUT]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
output=$(realpath -m "${1:-$build/docs}")

command -v doxygen >/dev/null || die "doxygen is not installed (Debian package doxygen)"
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" "$top/meson.build" | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$top"
{
    cat docs/reference/Doxyfile
    printf '%s\n' "PROJECT_NUMBER = $version" "OUTPUT_DIRECTORY = \"$work\""
} | doxygen - || die "the reference is not complete: see the messages above"
python3 scripts/manpages.py "$work/xml" "$work/man3" "$version"

mkdir -p "$output"
for part in html xml man3; do
    rm -rf "${output:?}/$part"
    mv "$work/$part" "$output/$part"
done
say "The reference is in $output: html/index.html, man3/ (man -l $output/man3/fuse_session_new.3)"
