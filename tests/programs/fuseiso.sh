# fuseiso: reads the image of a CD.
. /run/ringfuse/programs/lib.sh

make_tree tree
genisoimage -quiet -R -o image tree 2>mkisofs.log || fail "$(cat mkisofs.log)"
mount_with fuseiso -f "$work/image" "$mnt"
same tree "$mnt" plain
[ "$(timeout "$patience" readlink "$mnt/a/link")" = deep/er/directory/odd ] || fail "the link leads elsewhere"
! touch "$mnt/new" 2>/dev/null || fail "a CD was written to"
unmount 200
passed "an image read"
