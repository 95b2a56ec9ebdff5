# Sourced by the other scripts: where things are, and how rings are turned on.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
rings_parameter=/sys/module/fuse/parameters/enable_uring

# rustup's toolchain, also where no login shell has put it on the path.
[ ! -d "${HOME:-/root}/.cargo/bin" ] || PATH=${HOME:-/root}/.cargo/bin:$PATH
# Where mount, umount and modprobe are; a user's path may lack it.
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$@"; } # one line per argument
die() { printf 'ringfuse: %s\n' "$*" >&2; exit 1; }

# Root leaves no files of its own in a user's tree.
give_back() { [ "$(id -u)" != 0 ] || chown -R --reference="$top" "$build"; }

# Without the module there is no parameter to look at.
load_fuse() {
    [ -e /sys/module/fuse ] || [ "$(id -u)" != 0 ] || modprobe fuse 2>/dev/null || true
}

# Tests and the bench turn rings on themselves; processes of their own set the
# parameter back after them (tests/support/machine.rs). Waits for these.
await_restoration() {
    local tries
    for ((tries = 0; tries < 50; tries++)); do
        [ -e /run/ringfuse-tests.enable_uring ] || return 0
        sleep 0.1
    done
}

# Turns rings on for new mounts if this user may and the kernel has them, and
# says in $rings (on|off|none) and $rings_why what came of it. The caller's EXIT
# trap must call restore_rings, which sets the parameter back.
rings=off rings_why= rings_before=
enable_rings() {
    load_fuse
    if [ ! -e "$rings_parameter" ]; then
        rings=none
        rings_why="this kernel ($(uname -r)) does not offer FUSE over io_uring; Linux 6.14 and later do"
    elif [ "$(cat "$rings_parameter")" = Y ]; then
        rings=on rings_why="the kernel offers them"
    elif { echo Y >"$rings_parameter"; } 2>/dev/null; then
        rings=on rings_before=N
        rings_why="turned on for this run, and set back afterwards"
    else
        rings_why="off in this kernel; root turns them on with: echo Y > $rings_parameter"
    fi
}
restore_rings() {
    [ -z "$rings_before" ] || echo "$rings_before" >"$rings_parameter"
    rings_before=
}
