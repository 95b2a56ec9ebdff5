# sshfs, with a server of its own on 127.0.0.1.
. /run/ringfuse/programs/lib.sh

mkdir ssh remote
! is_root || mkdir /run/sshd
ssh-keygen -q -t ed25519 -N '' -f ssh/host
ssh-keygen -q -t ed25519 -N '' -f ssh/user
cp ssh/user.pub ssh/authorized

# Takes the first port that is free.
sshd=
serve_ssh() {
    local tries
    for ((tries = 0; tries < 20; tries++)); do
        port=$((20000 + RANDOM % 12000))
        cat >ssh/sshd_config <<END
ListenAddress 127.0.0.1:$port
HostKey $work/ssh/host
AuthorizedKeysFile $work/ssh/authorized
PidFile none
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
END
        : >ssh/log
        /usr/sbin/sshd -D -e -f ssh/sshd_config 2>ssh/log &
        sshd=$!
        until_true "sshd" listening_or_ended
        if ! ended "$sshd"; then
            return
        fi
    done
    fail "sshd does not start: $(cat ssh/log)"
}
listening_or_ended() { ended "$sshd" || grep -q "Server listening" ssh/log; }
serve_ssh
say "[127.0.0.1]:$port $(cat ssh/host.pub)" >ssh/known
cat >ssh/config <<END
Host server
    HostName 127.0.0.1
    Port $port
    User $(id -un)
    IdentityFile $work/ssh/user
    IdentitiesOnly yes
    UserKnownHostsFile $work/ssh/known
    StrictHostKeyChecking yes
END

make_tree tree
mount_with sshfs -f -F "$work/ssh/config" "server:$work/remote" "$mnt"
# Not with owners and times: sshfs cannot change those of a link.
timeout 60 cp -r --preserve=mode tree "$mnt/tree"
timeout "$patience" touch -d 2001-02-03 tree/big "$mnt/tree/big"
[ "$(stat -c %Y remote/tree/big)" = "$(stat -c %Y tree/big)" ] || fail "the time of a file was not set"
same tree "$mnt/tree"
same tree remote/tree
change_tree tree
change_tree "$mnt/tree"
rewrite tree
rewrite "$mnt/tree"
same tree "$mnt/tree"
same tree remote/tree
timeout "$patience" ln "$mnt/tree/empty" "$mnt/tree/hard"
[ "$(stat -c %h remote/tree/empty)" = 2 ] || fail "no hard link"
rm remote/tree/hard
# A file that is removed while it is open can still be read.
exec 5<"$mnt/tree/many/11"
rm "$mnt/tree/many/11" tree/many/11
[ "$(timeout "$patience" cat <&5)" = "file 11" ] || fail "an open file that was removed reads differently"
exec 5<&-
[ "$(timeout "$patience" stat -f -c %b "$mnt")" -gt 0 ] || fail "statfs says nothing"
unmount 500

# Without a cache, and several clients at once.
mount_with sshfs -f -F "$work/ssh/config" -o dir_cache=no,max_conns=2 "server:$work/remote" "$mnt"
same tree "$mnt/tree"
copy_in() { timeout 60 cp -r tree "$mnt/copy$1"; }
several copy_in
for i in 1 2 3 4; do
    same tree "remote/copy$i" plain
done
timeout 60 rm -r "$mnt"/copy?
[ "$(ls remote)" = tree ] || fail "rm -r left $(ls remote)"
unmount 500

in_background sshfs sshfs -F "$work/ssh/config" "server:$work/remote" "$mnt"
same tree "$mnt/tree"
unmount_background 100

kill "$sshd"
passed "a tree copied in, changed, and read back by three mounts"
