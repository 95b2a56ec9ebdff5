# qemu-storage-daemon: shows what is in a qcow2 image as a raw file, mounted on a file.
# It has a loop of its own, which reads /dev/fuse, and must be left there. (cat, as
# cmp(1) looks for holes, which takes this one a minute.)
. /run/ringfuse/programs/lib.sh
own_loop qemu-storage-daemon

make_tree tree
qemu-img create -q -f qcow2 image 64M
mnt=$work/disk
: >"$mnt"
# serve WRITABLE: it stays when the disk is unmounted; a signal ends it.
serve() {
    mount_with qemu-storage-daemon --blockdev driver=file,node-name=file,filename=image,read-only="$2" \
        --blockdev driver=qcow2,node-name=disk,file=file,read-only="$2" \
        --export type=fuse,id=export,node-name=disk,mountpoint="$mnt",writable="$1",growable="$1" "${@:3}"
}
end() {
    kill "$pid"
    check_end
    unmounted || fail "still mounted after the daemon's end"
    [ ! -s "$mnt" ] || fail "the file below the mount was written to"
}
size() { timeout "$patience" stat -c %s "$mnt"; }

serve on off
[ "$(size)" = $((64 << 20)) ] || fail "a disk of 64 MiB has $(size) bytes"
# A filesystem with files in it, made and read there.
truncate -s 64M expected
timeout 60 mke2fs -q -t ext4 -d tree "$mnt"
timeout 60 e2fsck -fn "$mnt" >fsck.log 2>&1 || fail "fsck is not content: $(cat fsck.log)"
mkdir copy
timeout 60 debugfs -R "rdump / copy" "$mnt" 2>debugfs.log
rmdir copy/lost+found
same tree copy
timeout 60 cat "$mnt" >expected
# Several writers, each in a region of its own.
head -c $((4 << 20)) /dev/urandom >data
writers=()
for i in 1 2 3 4; do
    timeout 60 dd if=data of="$mnt" bs=64K seek=$((i * 128 + i)) count=64 conv=notrunc,fsync status=none &
    writers+=($!)
    dd if=data of=expected bs=64K seek=$((i * 128 + i)) count=64 conv=notrunc status=none
done
for writer in "${writers[@]}"; do
    wait "$writer" || fail "a writer of several failed"
done
timeout 60 dd if=data of="$mnt" bs=4K seek=7777 count=100 oflag=direct conv=notrunc status=none
dd if=data of=expected bs=4K seek=7777 count=100 conv=notrunc status=none
timeout "$patience" fallocate --zero-range --offset 9M --length 2M "$mnt"
dd if=/dev/zero of=expected bs=1M seek=9 count=2 conv=notrunc status=none
timeout 60 cat "$mnt" | cmp - expected || fail "what was written reads differently"
timeout "$patience" truncate -s 80M "$mnt"
truncate -s 80M expected
[ "$(size)" = $((80 << 20)) ] || fail "a disk grown to 80 MiB has $(size) bytes"
timeout "$patience" dd if=data of="$mnt" bs=1M seek=80 count=1 conv=notrunc,fsync status=none
dd if=data of=expected bs=1M seek=80 count=1 conv=notrunc status=none
[ "$(size)" = $((81 << 20)) ] || fail "a disk written to beyond its end has $(size) bytes"
timeout 60 cat "$mnt" | cmp - expected || fail "after its growth the disk reads differently"
end
qemu-img compare -q -f qcow2 -F raw image expected || fail "the image has something else than was written"

# Two sessions in a process.
: >again
serve off on --export type=fuse,id=again,node-name=disk,mountpoint=again
timeout 60 cat again | cmp - expected || fail "mounted a second time, the disk reads differently"
timeout 60 cat "$mnt" | cmp - expected || fail "read-only, the disk reads differently"
! timeout "$patience" dd if=data of="$mnt" bs=4K count=1 conv=notrunc status=none 2>/dev/null || fail "a read-only disk was written to"
end
passed "a disk written, grown, and read back from its image"
