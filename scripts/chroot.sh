#!/bin/bash
# Shows that the two commands of the README work on a bare Debian 13: makes a
# root with nothing but make, git and the CA certificates, clones this tree into
# it, and runs `make demo` and `make test` there, each twice. Needs root,
# debootstrap, a network, and about 4 GB below the cache directory; processes
# and mounts live in a namespace of their own, which ends with the script.
# usage: chroot.sh [--worktree] [COMMAND]
#   --worktree   take the files as they are here, not the last commit
#   COMMAND      instead of: make demo && make demo && make test && make test
set -euo pipefail
. "$(dirname "$0")/lib.sh"

worktree=
if [ "${1:-}" = --worktree ]; then
    worktree=yes
    shift
fi
command=${1:-make demo && make demo && make test && make test}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringfuse/chroot
bare=$cache/trixie root=$cache/root

[ "$(id -u)" = 0 ] || die "chroot.sh needs root"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"

# The mirror this machine uses, so that it is one that can be reached.
mirror=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 ~ /^https?:/ { print $2; exit }')
mirror=${mirror:-http://deb.debian.org/debian/}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock -n 9 || die "another chroot.sh is running"
if [ ! -e "$bare.complete" ]; then
    say "Making a bare Debian 13 from $mirror in $bare"
    rm -rf "$bare"
    debootstrap --variant=minbase --include=make,git,ca-certificates trixie "$bare" "$mirror" >"$cache/log" ||
        die "debootstrap failed: $(tail -n 5 "$cache/log")"
    touch "$bare.complete"
fi

# A fresh copy each time; the bare root stays bare.
rm -rf --one-file-system "$root"
cp -a "$bare" "$root"
# How this machine reaches the network is no part of a bare system.
cp -a /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
cp -L --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
rm -rf "$root/etc/ssl/certs" # links, which would lead out of the root
cp -rL /etc/ssl/certs "$root/etc/ssl/certs"

if [ -n "$worktree" ]; then
    mkdir "$root/root/ringfuse"
    (cd "$top" && git ls-files -z --cached --others --exclude-standard |
        tar -c --null --files-from - --ignore-failed-read) | tar -x -C "$root/root/ringfuse"
else
    git clone --quiet --no-hardlinks "$top" "$root/root/ringfuse"
    [ -z "$(git -C "$top" status --porcelain)" ] || say "Note: uncommitted changes are not part of the clone"
fi

proxies=()
for name in http_proxy https_proxy no_proxy; do
    [ -z "${!name:-}" ] || proxies+=("$name=${!name}")
done

# Runs in a mount and process namespace of its own.
inside() {
    local root=$1 command=$2 mountpoint
    shift 2
    # FUSE mounts of others, which would live as long as this namespace.
    awk '{ for (i = 7; $i != "-"; i++); if ($(i + 1) ~ /^fuse(blk)?(\.|$)/) print $5 }' /proc/self/mountinfo |
        while read -r mountpoint; do
            timeout 10 umount -lic "$(printf %b "$mountpoint")"
        done
    mount --bind "$root" "$root"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t proc proc "$root/proc"
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb "$@" \
        chroot "$root" bash -c "cd /root/ringfuse && $command"
}

say "Running there: $command"
unshare --mount --pid --fork --kill-child bash -euc "$(declare -f inside); inside \"\$@\"" \
    chroot.sh "$root" "$command" ${proxies[@]+"${proxies[@]}"} && status=0 || status=$?
[ "$status" = 0 ] || die "failed in the bare root with status $status; it is still in $root"
rm -rf --one-file-system "$root"
say "Worked on a bare Debian 13: $command"
