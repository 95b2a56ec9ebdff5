# Sourced by the programs' scripts, which run in a room (room.sh): a filesystem
# with our library, the proof that it is served as asked, and work that is checked.
# Nothing needs cleaning up; the room ends with the script.
set -euo pipefail
libraries=/run/ringfuse/build
work=/run/work mnt=/run/mnt
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
is_root() { [ "$EUID" = 0 ]; }

# mount_with COMMAND...: runs a filesystem that stays in the foreground, with our
# library, until it is mounted on $mnt.
pid=
mount_with() {
    rm -f stats
    : >log
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

# own_loop PROGRAM: it drives /dev/fuse by itself, and must be left there on either
# transport. Where it receives requests through the library, the log must say so.
own_loop=
own_loop() {
    own_loop=reads
    ! grep -q fuse_session_receive_buf "$(command -v "$1")" || own_loop=receives
}

# The process has our library, and rings only if it should have. A first request
# is made, before which the choice is open.
check_served() {
    timeout "$patience" stat "$mnt" >/dev/null
    [ "$TRANSPORT" != stock ] || return 0
    check_library "$1"
    if [ -n "$own_loop" ]; then
        no_rings "$1"
        [ "$own_loop" != receives ] || grep -qx "ringfuse: transport dev: the program drives its own loop" log ||
            fail "the log does not tell of its own loop"
    elif [ "$TRANSPORT" = ring ]; then
        until_true "an io_uring" has_rings "$1"
    else
        no_rings "$1"
    fi
}
# A program may have io_urings of its own.
has_rings() {
    local fd
    for fd in $(find "/proc/$1/fd" -lname 'anon_inode:\[io_uring\]' -printf '%f '); do
        ! grep -q '/dev/fuse$' "/proc/$1/fdinfo/$fd" || return 0
    done
    return 1
}
no_rings() { ! has_rings "$1" || fail "has rings although /dev/fuse is to serve"; }
check_library() {
    local library
    library=$(awk '$6 ~ /libfuse3\.so/ { print $6; exit }' "/proc/$1/maps")
    [[ $library == "$libraries"/* ]] || fail "runs on '$library', not on the library in $libraries"
}

# unmount [REQUESTS [STATUS]]: unmounts; the filesystem must end with status 0 and
# have served at least that many requests in the way that was asked for.
served_in_all=0
unmount() {
    take_away
    check_end "${2:-0}"
    check_stats "${1:-10}"
}
take_away() {
    if is_root; then
        timeout "$patience" umount "$mnt"
    else
        timeout "$patience" fusermount3 -u "$mnt"
    fi
}
# check_end [STATUS]: the filesystem ends, with this status.
check_end() {
    local status
    until_true "the end of the filesystem" ended "$pid"
    status=$(wait_for "$pid")
    [ "$status" = "${1:-0}" ] || fail "ended with status $status"
    pid=
}

# in_background NAME COMMAND...: as people start it: COMMAND ends when the
# filesystem has been mounted and gone to the background, as a process called NAME.
in_background() {
    local name=$1
    shift
    rm -f stats
    (with_library timeout "$patience" "$@") >>log 2>&1
    mounted || fail "no mount when $name has gone to the background"
    pid=$(grep -lx "$name" /proc/[0-9]*/comm | awk -F/ '{ print $3 }')
    check_served "$pid"
}
# As unmount; the status of what is no child is not seen.
unmount_background() {
    take_away
    until_true "the end of the daemon" ended "$pid"
    check_stats "${1:-10}"
    pid=
}
# several COMMAND...: four clients at once, each with its number, from 1 on, as the
# last argument.
several() {
    local number client clients=()
    for number in 1 2 3 4; do
        "$@" "$number" &
        clients+=($!)
    done
    for client in "${clients[@]}"; do
        wait "$client" || fail "a client of several failed"
    done
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
    elif [ -n "$own_loop" ]; then
        say "left on /dev/fuse; $*"
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
