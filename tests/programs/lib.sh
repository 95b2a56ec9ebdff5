# Sourced by the programs' scripts, which run in a room (room.sh): a filesystem
# with our library, the proof that it is served as asked, and work that is checked.
# Nothing needs cleaning up; the room ends with the script.
set -euo pipefail
libraries=/run/ringfuse/build
work=/run/work mnt=/run/mnt
mkdir -p "$work" "$mnt"
cd "$work"
patience=30 # seconds for what should take milliseconds

say() { printf '%s\n' "$@"; }
fail() {
    {
        say "$*"
        [ ! -s "$work/log" ] || say "the program's output:" "$(tail -n 40 "$work/log")"
    } >&2
    exit 1
}
trap 'fail "line $LINENO failed: $BASH_COMMAND"' ERR
set -E

# until_true WHAT COMMAND...: waits for the command's success.
until_true() {
    local what=$1 end=$((SECONDS + patience))
    shift
    until "$@"; do
        ((SECONDS < end)) || fail "waited in vain for $what"
        sleep 0.05
    done
}
mounted() { grep -qE " $mnt fuse(blk)?[. ]" /proc/self/mounts; }
unmounted() { ! mounted; }
ended() { ! kill -0 "$1" 2>/dev/null; }

# mount_with COMMAND...: runs a filesystem that stays in the foreground, with our
# library, until it is mounted on $mnt.
pid=
mount_with() {
    rm -f stats
    with_library "$@" >>log 2>&1 &
    pid=$!
    until_true "the mount of: $*" mounted_or_ended
    ! ended "$pid" || fail "ended without a mount, with status $(wait_for "$pid"): $*"
    check_served "$pid"
}
mounted_or_ended() { mounted || ended "$pid"; }
with_library() {
    [ "$TRANSPORT" != stock ] || exec "$@"
    exec env LD_LIBRARY_PATH="$libraries" RINGFUSE_TRANSPORT="$TRANSPORT" RINGFUSE_STATS="$work/stats" "$@"
}
wait_for() {
    local status=0
    wait "$1" || status=$?
    echo "$status"
}

# The process has our library, and rings only if it should have. A first request
# is made, before which the choice is open.
check_served() {
    local library rings
    timeout "$patience" stat "$mnt" >/dev/null
    [ "$TRANSPORT" != stock ] || return 0
    library=$(awk '$6 ~ /libfuse3\.so/ { print $6; exit }' "/proc/$1/maps")
    [[ $library == "$libraries"/* ]] || fail "runs on '$library', not on the library in $libraries"
    rings=$(find "/proc/$1/fd" -lname 'anon_inode:\[io_uring\]' | wc -l)
    case $TRANSPORT in
    ring) [ "$rings" -gt 0 ] || fail "has no io_uring" ;;
    dev) [ "$rings" = 0 ] || fail "has $rings io_urings although /dev/fuse was asked for" ;;
    esac
}

# unmount [REQUESTS]: unmounts; the filesystem must end with status 0 and have
# served at least that many requests in the way that was asked for.
served_in_all=0
unmount() {
    local least=${1:-10} status=0 served
    timeout "$patience" umount "$mnt"
    until_true "the end of the filesystem" ended "$pid"
    wait "$pid" || status=$?
    [ "$status" = 0 ] || fail "ended with status $status"
    check_stats "$least"
    pid=
}
stat_of() { awk -v name="$1" '$1 == name { print $2 }' stats; }
check_stats() {
    local served
    [ "$TRANSPORT" != stock ] || return 0
    [ -s stats ] || fail "wrote no statistics: is it our library?"
    [ "$(stat_of transport)" = "$TRANSPORT" ] || fail "transport $(stat_of transport), not $TRANSPORT"
    served=$(stat_of "${TRANSPORT}_requests")
    [ "$served" -ge "$1" ] || fail "served $served requests over $TRANSPORT, not $1"
    served_in_all=$((served_in_all + served))
}
passed() {
    if [ "$TRANSPORT" = stock ]; then
        say "$*"
    else
        say "$served_in_all requests over $TRANSPORT; $*"
    fi
}

# ---- work --------------------------------------------------------------------

# Makes the directory $1: text, data, empty files, names of all kinds, links (unless
# $2 is `plain`).
make_tree() {
    local i
    mkdir -p "$1/a/deep/er/directory" "$1/many" "$1/with space"
    for i in $(seq 200); do
        echo "file $i" >"$1/many/$i"
    done
    head -c 5000000 /dev/urandom >"$1/big"
    head -c 70001 /dev/urandom >"$1/a/deep/er/directory/odd"
    : >"$1/empty"
    echo umlaut >"$1/with space/grün"
    cp /etc/passwd /etc/fstab "$1/a" 2>/dev/null || cp /etc/passwd "$1/a"
    chmod 640 "$1/a/passwd"
    if [ "${2:-}" != plain ]; then
        chmod 755 "$1/many/1"
        ln -s deep/er/directory/odd "$1/a/link"
        truncate -s 3000000 "$1/sparse"
    fi
}

# Names, types, sizes of files, (unless `plain`) modes and targets of links, and
# contents.
sums() {
    local format='%P %y %m %l'
    [ "${2:-}" != plain ] || format='%P %y'
    (
        cd "$1"
        timeout "$patience" find . -mindepth 1 -type f -printf "$format %s\n" -or -printf "$format\n"
        timeout 60 find . -type f -print0 | timeout 60 xargs -0 sha256sum
    ) | sort
}
same() {
    sums "$1" "${3:-}" >one.sums
    sums "$2" "${3:-}" >two.sums
    diff one.sums two.sums >difference || fail "$1 and $2 differ: $(head -n 20 difference)"
}

# Changes of all kinds to the tree that make_tree made in $1. Done to two trees,
# they stay alike.
change_tree() {
    local changes="mkdir new
        mv many/2 new/two
        mv 'with space' a/moved
        rm many/3 many/4
        rm -r a/deep/er
        echo more >>many/5
        truncate -s 1000 big
        truncate -s 5000 many/6
        printf x | dd of=many/8 bs=1 seek=2 conv=notrunc status=none
        mv many/9 many/10"
    (cd "$1" && timeout 60 bash -euc "$changes")
}
# One more: open(2) with O_TRUNC.
rewrite() { echo over >"$1/many/7"; }
