#!/bin/bash
# Counts, on other kernels in qemu, what one client's reads cost in wake-ups: how often
# the client is moved to another CPU, and how often it and the server switch, for each
# way of placing the server's threads (docs/performance.md, "Wake-ups"). Prints a table
# in Markdown. Needs what `make test-kernels` needs, and libfuse3-dev.
# usage: wakeups.sh [KERNEL...]    (6.16 6.18 7.1 7.2 7.3)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ $# -gt 0 ] || set -- 6.16 6.18 7.1 7.2 7.3
count=${WAKEUPS_READS:-20000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -O2 -o "$work/wakeups" "$top/benches/wakeups.c"
# Of the system's libfuse, which our libfuse3.so.3 replaces as well.
cflags=$(env -u PKG_CONFIG_PATH pkg-config --cflags --libs fuse3)
# shellcheck disable=SC2086 # several words
cc -O2 -w -o "$work/passthrough" "$top/examples-c/passthrough_ll.c" $cflags
stock=$(env -u LD_LIBRARY_PATH ldd "$work/passthrough" | awk '/libfuse3/ { print $3 }')
cat >"$work/guest" <<'GUEST'
#!/bin/sh
mkdir -p /tmp/src /tmp/mnt
head -c 1048576 /dev/urandom >/tmp/src/file
try() {
    name=$1 libraries=$2
    shift 2
    env LD_LIBRARY_PATH=$libraries "$@" /tmp/mnt 2>/tmp/log &
    pid=$!
    for i in $(seq 100); do
        grep -q /tmp/mnt /proc/mounts && break
        sleep 0.1
    done
    echo "$name|$(wakeups /tmp/mnt/file $pid $COUNT)"
    umount /tmp/mnt
    wait $pid
}
for round in 1 2 3; do
    server="passthrough -f -o source=/tmp/src,timeout=60"
    dev="RINGFUSE_TRANSPORT=dev"
    ring="RINGFUSE_TRANSPORT=ring"
    try "stock, /dev/fuse" /stock $server
    try "/dev/fuse" /build $dev $server
    try "/dev/fuse, one thread" /build $dev $server,max_threads=1
    try "/dev/fuse, SCHED_IDLE" /build $dev chrt -i 0 $server
    try "/dev/fuse, one CPU" /build $dev taskset -c 1 $server
    try "rings" /build $ring RINGFUSE_PIN=yes RINGFUSE_YIELD=yes $server
    try "rings, not yielding" /build $ring RINGFUSE_PIN=yes RINGFUSE_YIELD=no $server
    try "rings, not bound" /build $ring RINGFUSE_PIN=no $server
done
GUEST
echo "| kernel | server | the client moves | switches of the client | of the server |"
echo "|---|---|---|---|---|"
for kernel; do
    log=$work/log
    "$top/tests/vm/run" --kernel "$kernel" --cpus 4 --timeout 900 --build "$build" \
        --add "$work/wakeups:wakeups" --add "$work/passthrough:passthrough" \
        --add "$work/guest:guest" --add "$stock:stock-libfuse3.so.3" \
        --add "$(command -v chrt)" --add "$(command -v taskset)" -- \
        sh -c "mkdir /stock; ln -s /bin/stock-libfuse3.so.3 /stock/libfuse3.so.3; COUNT=$count sh /bin/guest" \
        >"$log" 2>&1 || { cat "$log" >&2; die "the guest of $kernel failed"; }
    python3 - "$kernel" "$log" <<'PYTHON'
import re, statistics, sys
rows = {}
for line in open(sys.argv[2], errors="replace"):
    if match := re.match(r"(.*)\|(\d+) (\d+)\+(\d+) (\d+)\+(\d+)\s*$", line):
        rows.setdefault(match[1], []).append([int(number) for number in match.groups()[1:]])
for name, rounds in rows.items():
    moves, voluntary, forced, server, pushed = map(round, map(statistics.median, zip(*rounds)))
    print(f"| {sys.argv[1]} | {name} | {moves} | {voluntary} + {forced} | {server} + {pushed} |")
PYTHON
done
