# bindfs: a directory once more, with other owners and permissions.
. /run/ringfuse/programs/lib.sh

# Not the default for users: system administrators have to allow it.
options=()
is_root || options=(--no-allow-other)

make_tree tree
mkdir below
mount_with bindfs -f "${options[@]}" "$work/below" "$mnt"
timeout 60 cp -a tree "$mnt/tree"
same tree "$mnt/tree"
same tree below/tree
change_tree tree
change_tree "$mnt/tree"
rewrite tree
rewrite "$mnt/tree"
same tree "$mnt/tree"
same tree below/tree
timeout "$patience" ln "$mnt/tree/empty" "$mnt/tree/hard"
[ "$(stat -c %h below/tree/empty)" = 2 ] || fail "no hard link"
timeout "$patience" rm "$mnt/tree/hard"
timeout "$patience" touch -d 2001-02-03 "$mnt/tree/empty"
[ "$(stat -c %Y below/tree/empty)" = "$(date -d 2001-02-03 +%s)" ] || fail "the time of a file was not set"
timeout "$patience" setfattr -n user.colour -v green "$mnt/tree/empty"
[ "$(getfattr --only-values -n user.colour below/tree/empty)" = green ] || fail "no attribute"
# A file that is removed while it is open can still be read.
exec 5<"$mnt/tree/many/11"
rm "$mnt/tree/many/11" tree/many/11
[ "$(timeout "$patience" cat <&5)" = "file 11" ] || fail "an open file that was removed reads differently"
exec 5<&-
[ "$(timeout "$patience" stat -f -c %b "$mnt")" = "$(stat -f -c %b below)" ] || fail "statfs says something else"
same tree "$mnt/tree"
unmount 500

# Other permissions, in several threads, with several clients.
mount_with bindfs -f "${options[@]}" --multithreaded -p 0400,u+D,ug=rD "$work/below" "$mnt"
[ "$(timeout "$patience" stat -c %a "$mnt/tree/many/1" "$mnt/tree/many" | paste -sd' ')" = "440 550" ] ||
    fail "permissions: $(stat -c '%a %n' "$mnt/tree/many/1" "$mnt/tree/many")"
copy_out() { timeout 60 cp -r "$mnt/tree" "copy$1"; }
several copy_out
for i in 1 2 3 4; do
    same tree "copy$i" plain
    chmod -R u+w "copy$i"
done
unmount 500

# Other owners, in the background.
if is_root; then
    in_background bindfs bindfs "${options[@]}" --map=root/daemon:@root/@daemon "$work/below" "$mnt"
    owner=daemon:daemon
    timeout "$patience" touch "$mnt/mine"
    chown -h daemon:daemon below/tree/a/passwd
    [ "$(timeout "$patience" stat -c %U:%G "$mnt/tree/empty")" = daemon:daemon ] || fail "root's file is not shown as daemon's"
    timeout "$patience" chown daemon:daemon "$mnt/mine"
    [ "$(stat -c %U:%G below/mine)" = root:root ] || fail "a chown to daemon made it $(stat -c %U:%G below/mine)"
else
    in_background bindfs bindfs "${options[@]}" --force-user=daemon "$work/below" "$mnt"
    [ "$(timeout "$patience" stat -c %U:%G "$mnt/tree/empty")" = "daemon:$(id -gn)" ] || fail "a file is not shown as daemon's"
fi
timeout 60 ls -lR "$mnt" >/dev/null
unmount_background 50

mount_with bindfs -f "${options[@]}" -r "$work/below" "$mnt"
same tree "$mnt/tree"
! timeout "$patience" touch "$mnt/new" 2>/dev/null || fail "a read-only mount was written to"
unmount 200
passed "a tree copied in, changed, and read back by four mounts"
