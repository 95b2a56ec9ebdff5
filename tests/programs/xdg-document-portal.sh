# xdg-document-portal: shows to sandboxed programs the files they were given, and
# takes orders over D-Bus.
. /run/ringfuse/programs/lib.sh

export XDG_RUNTIME_DIR=/run/user XDG_DATA_HOME=$work/data
chmod 700 "$XDG_RUNTIME_DIR"
mnt=$XDG_RUNTIME_DIR/doc
export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus
dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --nofork 2>bus.log &
until_true "the bus" test -S "$XDG_RUNTIME_DIR/bus"

# portal METHOD [SIGNATURE ARGUMENT...]: prints the answer, which begins with its type.
portal() {
    timeout "$patience" busctl --user call org.freedesktop.portal.Documents \
        /org/freedesktop/portal/documents org.freedesktop.portal.Documents "$@"
}
# add FILE FLAGS: prints the document's id. busctl cannot pass descriptors.
add() {
    timeout "$patience" python3 - "$@" <<'END'
import dbus, os, sys
path, flags = sys.argv[1], int(sys.argv[2])
service = dbus.SessionBus().get_object("org.freedesktop.portal.Documents", "/org/freedesktop/portal/documents")
documents = dbus.Interface(service, "org.freedesktop.portal.Documents")
file = dbus.types.UnixFd(os.open(path, os.O_PATH))
print(documents.AddFull(dbus.Array([file], "h"), dbus.UInt32(flags), "", dbus.Array([], "s"))[0][0])
END
}

# A program that was given a document sees it below by-app/ITS-NAME.
app=org.example.App there=$mnt/by-app/$app

make_tree tree
make_tree other plain
echo first >note
mount_with /usr/libexec/xdg-document-portal
[ "$(portal GetMountPoint)" = "$(printf "$mnt\0" | od -An -v -tu1 -w99 | xargs echo ay $((${#mnt} + 1)))" ] ||
    fail "the portal's mount point is: $(portal GetMountPoint)"

# A file; 1 is for the document that may be there already.
note=$(add note 1)
[ "$(timeout "$patience" cat "$mnt/$note/note")" = first ] || fail "a document reads differently"
[ "$mnt/$note/note" -ef "$mnt/$(add note 1)/note" ] || fail "a document that is added again is another"
echo second >>"$mnt/$note/note"
[ "$(cat note)" = "$(printf 'first\nsecond')" ] || fail "what was written to a document is not in its file"
# As editors save: by a new file that is renamed.
echo third >"$mnt/$note/.note.new"
timeout "$patience" mv "$mnt/$note/.note.new" "$mnt/$note/note"
[ "$(cat note)" = third ] || fail "a document that was replaced is not in its file"
[ "$(timeout "$patience" ls -A "$mnt/$note")" = note ] || fail "beside the document is $(ls -A "$mnt/$note")"

# What a program may do is up to its permissions, at once.
! timeout "$patience" ls "$there/$note" 2>/dev/null || fail "a program sees a document that it was not given"
portal GrantPermissions ssas "$note" "$app" 1 read
[ "$(timeout "$patience" cat "$there/$note/note")" = third ] || fail "a document reads differently in a program"
! { echo fourth >"$there/$note/note"; } 2>errors || fail "a document was written to without permission"
grep -q "Permission denied" errors || fail "a document without permission to write: $(cat errors)"
portal GrantPermissions ssas "$note" "$app" 1 write
echo fourth >"$there/$note/note"
[ "$(cat note)" = fourth ] || fail "what a program wrote to a document is not in its file"
portal RevokePermissions ssas "$note" "$app" 2 read write
! timeout "$patience" cat "$there/$note/note" 2>/dev/null || fail "a program reads a document that was taken away"

# A directory (8), also known later (2).
tree=$(add tree 11)
same tree "$mnt/$tree/tree"
cp -a tree expected
change_tree expected
change_tree "$mnt/$tree/tree"
rewrite expected
rewrite "$mnt/$tree/tree"
same expected "$mnt/$tree/tree"
same expected tree
portal GrantPermissions ssas "$tree" "$app" 2 read write
copy_in() { timeout 60 cp -r other "$there/$tree/tree/copy$1"; }
several copy_in
for i in 1 2 3 4; do
    same other "tree/copy$i"
    same other "$there/$tree/tree/copy$i"
done
timeout 60 rm -r "$there/$tree/tree"/copy?
same expected "$mnt/$tree/tree"

portal Delete s "$note"
! timeout "$patience" stat "$mnt/$note" 2>/dev/null || fail "a document that was deleted is still there"
[ -e note ] || fail "the file of a document that was deleted is gone"
kill "$pid"
check_end
unmounted || fail "still mounted after the portal's end"
check_stats 500

# What it was told is still known. It ends when it is unmounted, with this status.
mount_with /usr/libexec/xdg-document-portal
same expected "$mnt/$tree/tree"
same expected "$there/$tree/tree"
unmount 200 21
passed "a file and a directory given, taken back and changed"
