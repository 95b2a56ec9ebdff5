#!/bin/bash
# Makes a room for one run, and runs a program's script in it: a namespace of
# mounts whose root is ROOT, read-only, without any of the machine's other mounts;
# /tmp, /run and /root are empty. Its processes have a namespace of their own too, with
# the script as process 1, so its end ends everything.
# An ordinary user's room has an account for it, and a /dev/fuse that everybody may
# open, as on other machines; this machine's stays as it is. `rootless` is such a user
# as root of a namespace, in which it may mount.
# Run by `run`, with unshare --mount --pid --fork --kill-child.
# usage: room.sh ROOT BUILD PROGRAM TRANSPORT root|user|rootless
set -euo pipefail
root=$1 build=$2 program=$3 transport=$4 account=$5
uid=54321 # of the user
here=$(cd "$(dirname "$0")" && pwd)

# Any directory will do to mount on; the mount is seen here only.
room=/mnt
mount --bind "$root" "$room"
mount -o remount,bind,ro "$room"
mount -t tmpfs -o mode=1777 tmpfs "$room/tmp"
mount -t tmpfs -o mode=755 tmpfs "$room/run"
mount -t tmpfs -o mode=700 tmpfs "$room/root"
mount -t proc proc "$room/proc"
mount --rbind /dev "$room/dev"
mount --rbind /sys "$room/sys"
mkdir -p "$room"/run/{ringfuse/build,ringfuse/programs,old,work,mnt,user}
mount --bind "$build" "$room/run/ringfuse/build"
mount --bind "$here" "$room/run/ringfuse/programs"
cd "$room"
pivot_root . run/old
# The mounts of others leave this namespace.
umount --lazy /run/old
cd /run
as=() home=/root
if [ "$account" != root ]; then
    as=(setpriv --reuid "$uid" --regid "$uid" --clear-groups --) home=/run/home
    [ "$account" = user ] || as+=(unshare --user --map-root-user --mount --)
    mkdir home
    chown "$uid:$uid" home work mnt user
    { cat /etc/passwd && echo "ringfuse:x:$uid:$uid::$home:/bin/bash"; } >passwd
    { cat /etc/group && echo "ringfuse:x:$uid:"; } >group
    mount --bind passwd /etc/passwd
    mount --bind group /etc/group
    cp --archive /dev/fuse fuse
    chmod 666 fuse
    mount --bind fuse /dev/fuse
fi
exec "${as[@]}" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$home" LC_ALL=C.UTF-8 \
    TRANSPORT="$transport" bash "/run/ringfuse/programs/$program.sh"
