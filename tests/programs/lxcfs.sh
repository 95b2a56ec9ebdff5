# lxcfs: /proc as a container should see it, and the cgroups.
. /run/ringfuse/programs/lib.sh

mount_with lxcfs -f -p "$work/pid" "$mnt"
look() { timeout "$patience" cat "$mnt/proc/$1"; }
number() { look meminfo | awk -v name="$1:" '$1 == name { print $2 }'; }

for name in $(timeout "$patience" ls "$mnt/proc"); do
    look "$name" >"proc.$name" || fail "cannot read proc/$name"
done
[ "$(number MemTotal)" -gt 0 ] && [ "$(number MemTotal)" -le "$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo)" ] ||
    fail "proc/meminfo says: $(head -n 3 proc.meminfo)"
[ "$(number MemFree)" -le "$(number MemTotal)" ] || fail "more memory is free than there is"
processors=$(grep -c '^processor' proc.cpuinfo)
[ "$processors" -ge 1 ] && [ "$processors" -le "$(grep -c '^processor' /proc/cpuinfo)" ] || fail "$processors processors"
grep -q '^btime' proc.stat || fail "proc/stat has no btime"
# It is this process's namespace that has been up for a while.
awk '{ exit !($1 >= 0 && $1 < 600) }' proc.uptime || fail "proc/uptime says $(cat proc.uptime) of a new container"
# Pieces of a file, at any offset, are those of the whole: read within one open.
timeout "$patience" dd if="$mnt/proc/cpuinfo" bs=7 status=none | grep -v MHz >pieces
grep -v MHz proc.cpuinfo | diff - pieces >difference || fail "in pieces, proc/cpuinfo is another: $(head difference)"
cpus=$(timeout "$patience" cat "$mnt/sys/devices/system/cpu/online")
[ -n "$cpus" ] || fail "no CPU is online"

if timeout "$patience" ls "$mnt/cgroup" >controllers 2>/dev/null; then
    while read -r controller; do
        timeout "$patience" ls -l "$mnt/cgroup/$controller" >/dev/null || fail "cannot list cgroup/$controller"
    done <controllers
fi
for i in 1 2 3 4; do
    for name in cpuinfo meminfo stat uptime; do
        look "$name" >/dev/null
    done
done
unmount 50
passed "$(ls proc.* | wc -l) files of /proc and $(wc -l <controllers) controllers' cgroups read"
