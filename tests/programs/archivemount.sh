# archivemount: reads a tar archive, and writes it anew when it was changed.
. /run/ringfuse/programs/lib.sh

make_tree tree
tar -czf archive.tar.gz -C tree .
mount_with archivemount -f -o nobackup "$work/archive.tar.gz" "$mnt"
same tree "$mnt"
echo added | timeout "$patience" dd of="$mnt/added" status=none
timeout "$patience" rm "$mnt/many/3"
timeout "$patience" mkdir "$mnt/fresh"
unmount 200
echo added >tree/added
rm tree/many/3
mkdir tree/fresh
mkdir unpacked
tar -xf archive.tar.gz -C unpacked
same tree unpacked plain

mount_with archivemount -f -o readonly "$work/archive.tar.gz" "$mnt"
same tree "$mnt" plain
unmount 200
passed "an archive read, changed and read again"
