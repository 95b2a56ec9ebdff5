# fuse-overlayfs: two directories shown as one, with a third for what is changed.
. /run/ringfuse/programs/lib.sh

make_tree low
setfattr -n user.colour -v green low/a/passwd
ln low/a/passwd low/many/passwd
mkdir -p top/many top/only upper workdir
echo "over it" >top/many/20
echo top >top/only/file
cp -a low tree
cp -a top/. tree
cp -a low low.before
cp -a top top.before

# The same changes to the overlay and to a copy of what it should show.
both() {
    (cd tree && "$@")
    (cd "$mnt" && timeout 60 "$@")
    same tree "$mnt"
}

# Without an upper directory nothing can be changed.
mount_with fuse-overlayfs -f -o "lowerdir=$work/top:$work/low" "$mnt"
same tree "$mnt"
! timeout "$patience" touch "$mnt/new" 2>errors || fail "an overlay without an upper directory was written to"
grep -q "Read-only" errors || fail "an overlay without an upper directory: $(cat errors)"
unmount 200

overlay=(-o "lowerdir=$work/top:$work/low,upperdir=$work/upper,workdir=$work/workdir")
mount_with fuse-overlayfs -f "${overlay[@]}" "$mnt"
same tree "$mnt"
change_tree tree
change_tree "$mnt"
rewrite tree
rewrite "$mnt"
same tree "$mnt"
[ "$(cat "$mnt/many/10")" = "file 9" ] || fail "a file that was moved over another reads differently"
# What was in a directory below is not seen in a new one of that name.
both rm -r only
both mkdir only
both bash -c 'echo new >only/new'
# Directories, one from above and one from below. Not one that hides another below:
# that is seen again when it is moved, by fuse-overlayfs 1.10 on libfuse3 as well.
both mv new many/new
both mv a b
both chmod 700 many
both ln many/20 hard
[ "$(timeout "$patience" stat -c %h "$mnt/hard")" = 2 ] || fail "no hard link"
both ln -s many/20 soft
both mkfifo -m 640 fifo
timeout "$patience" setfattr -n user.colour -v blue "$mnt/b/passwd"
[ "$(timeout "$patience" getfattr --only-values -n user.colour "$mnt/b/passwd")" = blue ] || fail "the attribute was not set"
timeout "$patience" touch -d 2001-02-03 "$mnt/empty"
# A file that is removed while it is open can still be read.
exec 5<"$mnt/many/11"
both rm many/11
[ "$(timeout "$patience" cat <&5)" = "file 11" ] || fail "an open file that was removed reads differently"
exec 5<&-
! timeout "$patience" rmdir "$mnt/many" 2>errors || fail "a directory with files in it was removed"
grep -q "not empty" errors || fail "a directory with files in it: $(cat errors)"
[ "$(timeout "$patience" stat -f -c %b "$mnt")" -gt 0 ] || fail "statfs says nothing"
unmount 500

# What is below is as it was, and all changes are still there. Several clients, served
# by several threads.
same low.before low
same top.before top
in_background fuse-overlayfs fuse-overlayfs "${overlay[@]}" -o threaded=1 "$mnt"
same tree "$mnt"
[ "$(timeout "$patience" getfattr --only-values -n user.colour "$mnt/b/passwd")" = blue ] || fail "the attribute was not kept"
[ "$(timeout "$patience" stat -c %Y "$mnt/empty")" = "$(date -d 2001-02-03 +%s)" ] || fail "a file's time was not kept"
copy_within() { timeout 60 cp -a "$mnt/many" "$mnt/copy$1"; }
several copy_within
for i in 1 2 3 4; do
    same tree/many "$mnt/copy$i"
done
timeout 60 rm -r "$mnt"/copy?
same tree "$mnt"
unmount_background 500
passed "two directories changed as one, and read again"
