#!/bin/bash
# Compares the speed with the libfuse3 of this system, and with one that has rings.
# As root, rings are on meanwhile, where the kernel has them, and set back afterwards.
# usage: bench.sh [OPTION...], see bench.sh --help
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# On tmpfs, where O_DIRECT has no rules and no disk is slow.
scratch=$(mktemp -d /dev/shm/ringfuse-bench-XXXXXX)
log=$(mktemp)

# The bench ends what it starts; this is for when it was killed. A server whose mount
# is gone ends by itself.
clean_up() {
    local mountpoint
    while read -r mountpoint; do
        umount -l "$mountpoint" 2>/dev/null || fusermount3 -uz "$mountpoint" || true
    done < <(awk -v below="$scratch/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts)
    rm -rf --one-file-system "$scratch" "$log"
    await_restoration
}
trap clean_up EXIT
trap 'exit 130' INT TERM

load_fuse
export RINGFUSE_BENCH_SCRATCH=$scratch
if RINGFUSE_BENCH_BUILT=$("$top/scripts/libfuse-rings.sh" 2>"$log"); then
    export RINGFUSE_BENCH_BUILT
else
    unset RINGFUSE_BENCH_BUILT
    RINGFUSE_BENCH_NOT_BUILT=$(tail -n 1 "$log" | sed 's/^ringfuse: //')
    export RINGFUSE_BENCH_NOT_BUILT
fi
"$top/scripts/cargo.sh" bench --bench compare -- "$@"
if [ "$(id -u)" = 0 ]; then # the page stays the user's
    chown --reference="$top" "$top"/docs/performance.*
fi
