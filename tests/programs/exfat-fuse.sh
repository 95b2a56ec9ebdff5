# exfat-fuse, with an image, which fsck checks afterwards.
. /run/ringfuse/programs/lib.sh

make_tree tree plain
truncate -s 64M image
mkfs.exfat image >mkfs.log
# -d: stays in the foreground (and tells about each operation)
mount_with mount.exfat-fuse -d "$work/image" "$mnt"
timeout 60 cp -r tree "$mnt/tree"
same tree "$mnt/tree" plain
change_tree tree
change_tree "$mnt/tree"
same tree "$mnt/tree" plain
unmount 500
fsck.exfat -n image >fsck.log 2>&1 || fail "fsck is not content: $(cat fsck.log)"

mount_with mount.exfat-fuse -d -o ro "$work/image" "$mnt"
same tree "$mnt/tree" plain
unmount 200
passed "a tree copied in, changed, and read back from the image"
