#!/bin/bash
# Copies a real tree through three filesystems that ringfuse serves, compares
# checksums, and tells which transport carried how many requests. Everything
# happens below a fresh temporary directory; what it mounts it unmounts.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/ringfuse-demo.XXXXXX")
mountpoint=$work/mountpoint
pid=
limit=120 # seconds for one step; a filesystem that hangs must not hang its user

unmount() {
    if [ "$(id -u)" = 0 ]; then umount "$@"; else fusermount3 -u "${@/#-l/-z}"; fi
}
cleanup() {
    local status=$?
    trap - EXIT
    if grep -q " $mountpoint " /proc/self/mounts; then
        timeout 10 bash -c "$(declare -f unmount); unmount -l '$mountpoint'" || true
    fi
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    restore_rings
    rm -rf --one-file-system "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The sum of every file's name and contents below $1.
checksum() {
    (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | timeout "$limit" xargs -0 sha256sum) |
        sha256sum | cut -d ' ' -f 1
}

# wait_until SECONDS WHAT COMMAND...
wait_until() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < end)) || die "$what did not happen in time; its output: $(cat "$work/log")"
        sleep 0.05
    done
}
mounted() {
    kill -0 "$pid" 2>/dev/null || die "the filesystem ended by itself: $(cat "$work/log")"
    grep -q " $mountpoint " /proc/self/mounts
}
ended() { ! kill -0 "$pid" 2>/dev/null; }

# run NAME [OPTION...]: mounts examples-c/NAME, copies the tree in, compares.
run() {
    local name=$1 started status=0
    shift
    say "" "$name: mounting on $mountpoint"
    RINGFUSE_STATS=$work/stats "$build/examples-c/$name" -f "$@" "$mountpoint" >"$work/log" 2>&1 &
    pid=$!
    wait_until 20 "the mount of $name" mounted

    started=$(date +%s%N)
    timeout "$limit" cp -r "$tree" "$mountpoint/tree" || die "copying through $name failed"
    say "  copied $files files of $candidate, $(du -sh "$tree" | cut -f 1), in $((($(date +%s%N) - started) / 1000000)) ms"
    [ "$(checksum "$mountpoint/tree")" = "$sum" ] || die "$name: what is read back differs from what was written"
    say "  read back through the mount: sha256 of names and contents agree"

    timeout 20 bash -c "$(declare -f unmount); unmount '$mountpoint'" || die "unmounting $name failed"
    wait_until 20 "the end of $name" ended
    wait "$pid" || status=$?
    pid=
    [ "$status" = 0 ] || die "$name ended with status $status: $(cat "$work/log")"
    awk '{ value[$1] = $2; if ($1 == "reason") { sub(/^reason /, ""); reason = $0 } }
        END {
            printf "  transport %s (%s)\n", value["transport"], reason
            printf "  requests served over rings: %d, over /dev/fuse: %d\n",
                value["ring_requests"], value["dev_requests"]
        }' "$work/stats"
}

mkdir "$work/real" "$work/real_by_path" "$mountpoint"
# A tree of a size that memory can hold, without links: both sums see plain files.
tree=$work/tree
for candidate in /usr/include "$top/src"; do
    [ "$(du -sm "$candidate" | cut -f 1)" -gt 300 ] || break
done
cp -rL "$candidate" "$tree" 2>/dev/null || true # a link that leads nowhere is left out
files=$(find "$tree" -type f | wc -l)
sum=$(checksum "$tree")

enable_rings
case $rings in
on) say "rings: $rings_why" ;;
*) say "rings: $rings_why; everything goes over /dev/fuse" ;;
esac

run passthrough_ll -o "source=$work/real"
[ "$(checksum "$work/real/tree")" = "$sum" ] || die "passthrough_ll: the real directory differs from what was written"
say "  in the real directory below it: they agree there as well"
# The same by the path API, which most filesystems use.
run passthrough -o "source=$work/real_by_path"
[ "$(checksum "$work/real_by_path/tree")" = "$sum" ] || die "passthrough: the real directory differs from what was written"
say "  in the real directory below it: they agree there as well"
run memfs_ll
say "" "Everything arrived, and nothing is left mounted."
