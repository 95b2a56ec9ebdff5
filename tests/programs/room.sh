#!/bin/bash
# Makes a room for one run, and runs a program's script in it: a namespace of
# mounts whose root is ROOT, read-only, without any of the machine's other mounts;
# /tmp, /run and /root are empty. Its processes have a namespace of their own too, with
# the script as process 1, so its end ends everything.
# Run by `run`, with unshare --mount --pid --fork --kill-child.
# usage: room.sh ROOT BUILD PROGRAM TRANSPORT
set -euo pipefail
root=$1 build=$2 program=$3 transport=$4
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
mkdir -p "$room/run/ringfuse/build" "$room/run/ringfuse/programs" "$room/run/old"
mount --bind "$build" "$room/run/ringfuse/build"
mount --bind "$here" "$room/run/ringfuse/programs"
cd "$room"
pivot_root . run/old
# The mounts of others leave this namespace.
umount --lazy /run/old
cd /run
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    TRANSPORT="$transport" bash "/run/ringfuse/programs/$program.sh"
