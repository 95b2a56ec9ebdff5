# fuse2fs, with an ext4 image, which fsck checks afterwards.
. /run/ringfuse/programs/lib.sh

make_tree tree
truncate -s 64M image
mke2fs -q -t ext4 image
mount_with fuse2fs -f -o fakeroot "$work/image" "$mnt"
timeout 60 cp -a tree "$mnt/tree"
same tree "$mnt/tree"
# Not rewrite: fuse2fs 1.47.2 does not look at O_TRUNC in open, and the kernel leaves
# truncation to it, on libfuse3 as well.
change_tree tree
change_tree "$mnt/tree"
same tree "$mnt/tree"
unmount 500
e2fsck -fn image >fsck.log 2>&1 || fail "fsck is not content: $(cat fsck.log)"

mount_with fuse2fs -f -o fakeroot,ro "$work/image" "$mnt"
same tree "$mnt/tree"
! touch "$mnt/new" 2>/dev/null || fail "a read-only mount was written to"
unmount 200
passed "a tree copied in, changed, and read back from the image"
