# squashfuse_ll: reads a squashfs image, here in several compressions.
. /run/ringfuse/programs/lib.sh

make_tree tree
ln tree/a/passwd tree/many/passwd
setfattr -n user.colour -v green tree/a/passwd
mksquashfs tree image -comp zstd -b 64K -quiet -no-progress >log
mount_with squashfuse_ll -f image "$mnt"
same tree "$mnt"
[ "$(timeout "$patience" stat -c '%h %s %Y %u' "$mnt/a/passwd")" = "$(stat -c '%h %s %Y %u' tree/a/passwd)" ] ||
    fail "the metadata of a file: $(stat "$mnt/a/passwd")"
[ "$mnt/a/passwd" -ef "$mnt/many/passwd" ] || fail "two links of a file are two files"
[ "$(timeout "$patience" getfattr --only-values -n user.colour "$mnt/a/passwd" 2>/dev/null)" = green ] || fail "no attribute"
! timeout "$patience" getfattr -n user.none "$mnt/a/passwd" 2>errors || fail "an attribute that is not there"
grep -q "No such attribute" errors || fail "an attribute that is not there: $(cat errors)"
! timeout "$patience" cat "$mnt/none" 2>errors || fail "a file that is not there"
grep -q "No such file" errors || fail "a file that is not there: $(cat errors)"
! timeout "$patience" touch "$mnt/new" 2>/dev/null || fail "an image was written to"
# From the middle, backwards, and by several at once.
for at in 4990000 3000001 65535 65536 0; do
    timeout "$patience" cmp --ignore-initial="$at" --bytes=70000 "$mnt/big" tree/big ||
        fail "from byte $at on, a file reads differently"
done
copy_out() {
    mkdir "copy$1"
    timeout 60 tar -cf - -C "$mnt" . | tar -xf - -C "copy$1"
}
several copy_out
for i in 1 2 3 4; do
    same tree "copy$i"
done
unmount 500

# An image behind something else in its file, as AppImages have it.
head -c 4096 /dev/zero >image.gzip
mksquashfs tree image.gzip -comp gzip -offset 4096 -noappend -quiet -no-progress >>log
in_background squashfuse_ll squashfuse_ll -o offset=4096 image.gzip "$mnt"
same tree "$mnt"
unmount_background 200

# It unmounts by itself when nobody has used it for a second, with this status.
mount_with squashfuse_ll -f -o timeout=1 image "$mnt"
[ "$(timeout "$patience" cat "$mnt/many/7")" = "file 7" ] || fail "a file reads differently"
until_true "the unmount of an idle image" unmounted
check_end 254
check_stats 3
passed "two images read, and one unmounted when it was idle"
