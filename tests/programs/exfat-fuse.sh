# exfat-fuse, with an image, which fsck checks afterwards.
. /run/ringfuse/programs/lib.sh

make_tree tree plain
truncate -s 64M image
mkfs.exfat image >mkfs.log

# mount_image [OPTION...]: as root it mounts devices only. The loop device goes away
# when its last user closes it.
mount_image() {
    local device
    device=$(losetup --find --show image)
    # -d: stays in the foreground (and tells about each operation)
    mount_with mount.exfat-fuse -d "$@" "$device" "$mnt"
    losetup --detach "$device"
}

mount_image
timeout 60 cp -r tree "$mnt/tree"
same tree "$mnt/tree" plain
change_tree tree
change_tree "$mnt/tree"
rewrite tree
rewrite "$mnt/tree"
same tree "$mnt/tree" plain
unmount 500
fsck.exfat -n image >fsck.log 2>&1 || fail "fsck is not content: $(cat fsck.log)"

mount_image -o ro
same tree "$mnt/tree" plain
unmount 200
passed "a tree copied in, changed, and read back from the image"
