#!/bin/bash
# Runs a script in a copy of a root directory: what it installs, removes or breaks
# there goes to a layer in memory, which ends with it. TOP, this tree, is in the
# copy as /run/ringfuse. There is no network.
# Run with unshare --mount --net --pid --fork --kill-child.
# usage: room.sh ROOT TOP SCRIPT [ARGUMENT...]
set -euo pipefail
root=$1 top=$2 script=$3
shift 3

# Any directory will do to mount on; the mounts are seen here only.
room=/mnt
mount -t tmpfs tmpfs "$room"
mkdir "$room/upper" "$room/work" "$room/root"
if ! mount -t overlay -o "lowerdir=$root,upperdir=$room/upper,workdir=$room/work" overlay "$room/root"; then
    echo "skipped: no overlay can be mounted on $root"
    exit
fi
room=$room/root
mount -t tmpfs -o mode=1777 tmpfs "$room/tmp"
mount -t tmpfs -o mode=755 tmpfs "$room/run"
mount -t proc proc "$room/proc"
mount --rbind /dev "$room/dev"
mkdir "$room/run/ringfuse" "$room/run/old"
mount --bind "$top" "$room/run/ringfuse"
cd "$room"
pivot_root . run/old
# The mounts of others leave this namespace.
umount --lazy /run/old
cd /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    bash "/run/ringfuse/tests/install/$script.sh" "$@"
