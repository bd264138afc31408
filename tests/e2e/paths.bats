#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Paths mean what they mean to the caller: its mounts, its root, its directory, its rights.

load common

setup()
{
	common_setup
	chmod 777 "$DIR"
	# probe PATH OFFSET: what perf_event_open() answers to a uprobe on the file, without looking at it first
	cat >"$DIR/probe" <<'EOF'
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
pmu = int(open("/sys/bus/event_source/devices/uprobe/type").read())
path = ctypes.create_string_buffer(sys.argv[1].encode())
attr = struct.pack("IIQQQQQIIQQ", pmu, 72, 0, 0, 0, 0, 0, 0, 0, ctypes.addressof(path), int(sys.argv[2], 16))
fd = libc.syscall(298, ctypes.create_string_buffer(attr, 72), -1, 0, -1, 0)
print("opened" if fd >= 0 else errno.errorcode[ctypes.get_errno()])
EOF
	chmod 644 "$DIR/probe"
	AT=$(nm "$DIR/sample" | sed -n 's/ T work$//p')
	[ -n "$AT" ]
}

teardown() { common_teardown; }

@test "a file that exists in the caller's mount namespace only, and one hidden by a mount of the caller's" {
	mkdir "$DIR/own"
	# The host has a program of that name, too: another one.
	cp "$DIR/sample-static" "$DIR/own/sample"
	cat >"$DIR/tree" <<EOF
mount -t tmpfs tmpfs $DIR/own
cp $DIR/sample $DIR/own/sample
bpftrace -e 'uprobe:$DIR/own/sample:work { @[probe] = count(); } usdt:$DIR/own/sample:sample:guarded { @g = count(); }' \
	-c '$DIR/own/sample -n 70'
EOF
	for how in real ours; do
		$how sh "$DIR/tree" >"$DIR/$how" 2>&1
		grep -qF "sample:work]: 70" "$DIR/$how" || { cat "$DIR/$how"; return 1; }
		grep -qx '@g: 70' "$DIR/$how"
	done
}

@test "a changed root, and a link in it that leads elsewhere outside" {
	mkdir -p "$DIR/root/bin" "$DIR/root/proc" "$DIR/root/sys" "$DIR/root/usr" "$DIR/root/lib" "$DIR/root/lib64" "$DIR/root/etc" "$DIR/root/go"
	cp "$DIR/sample" "$DIR/root/go/inside"
	ln -s /go/inside "$DIR/root/go/link"
	cp "$DIR/probe" "$DIR/root/go/probe"
	chmod -R a+rX "$DIR/root"
	cat >"$DIR/tree" <<EOF
mount -t tmpfs tmpfs $DIR/root/etc
for name in usr lib lib64 bin proc sys; do mount --rbind /\$name $DIR/root/\$name || exit 9; done
chroot $DIR/root /usr/bin/python3 /go/probe /go/inside $AT
chroot $DIR/root /usr/bin/python3 /go/probe /go/link $AT
chroot $DIR/root /usr/bin/python3 /go/probe /go/../../../../go/inside $AT
chroot $DIR/root /usr/bin/python3 /go/probe $DIR/sample $AT
cd $DIR && python3 $DIR/probe sample $AT
cd $DIR/root/go && python3 $DIR/probe ../../sample $AT
cd $DIR/root/go && python3 $DIR/probe nothing $AT
EOF
	for how in real ours; do
		$how sh "$DIR/tree" >"$DIR/$how" 2>&1
	done
	diff "$DIR/real" "$DIR/ours"
	[ "$(paste -sd' ' "$DIR/ours")" = "opened opened opened ENOENT opened opened ENOENT" ]
}

@test "through another process's root" {
	cat >"$DIR/tree" <<EOF
unshare -m sh -c 'mount -t tmpfs tmpfs /mnt && cp $DIR/sample /mnt/hidden && echo up >$DIR/up; read -r line <$DIR/gate' &
while [ ! -s $DIR/up ]; do sleep 0.05; done
python3 $DIR/probe /proc/\$!/root/mnt/hidden $AT
python3 $DIR/probe /mnt/hidden $AT
echo >$DIR/gate
wait
EOF
	mkfifo "$DIR/gate"
	chmod 666 "$DIR/gate"
	for how in real ours; do
		: >"$DIR/up"
		chmod 666 "$DIR/up"
		$how sh "$DIR/tree" >"$DIR/$how" 2>&1
		[ "$(paste -sd' ' "$DIR/$how")" = "opened ENOENT" ]
	done
}

@test "/proc/self is the caller" {
	cat >"$DIR/tree" <<EOF
exec 9<$DIR/sample
cd $DIR
for path in /proc/self/fd/9 /proc/thread-self/fd/9 //proc//self/cwd/sample /proc/self/root$DIR/sample /dev/fd/9 /proc/self/fd/8 /proc/selfish; do
	python3 $DIR/probe \$path $AT
done
EOF
	for how in real ours plain; do
		$how sh "$DIR/tree" >"$DIR/$how" 2>&1
		[ "$(paste -sd' ' "$DIR/$how")" = "opened opened opened opened opened ENOENT ENOENT" ] || { cat "$DIR/$how"; return 1; }
	done
}

plain()
{
	timeout -k 5 60 "$BPFSHIMD" --run -- "$@"
}

@test "/proc/self/exe is the caller's program: the probe is in it" {
	gcc -O1 -o "$DIR/itself" -x c - <<'EOF'
#include <errno.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
extern char __executable_start;
__attribute__((noinline, noipa)) int probed(int n) { return n + 1; }
int main(void)
{
	struct perf_event_attr attr = {.size = sizeof(attr)};
	unsigned char before = *(volatile unsigned char *)probed;
	FILE *type = fopen("/sys/bus/event_source/devices/uprobe/type", "r");
	if (!type || fscanf(type, "%u", &attr.type) != 1)
		return 2;
	attr.config1 = (uintptr_t)"/proc/self/exe";
	attr.config2 = (uintptr_t)probed - (uintptr_t)&__executable_start;
	long fd = syscall(SYS_perf_event_open, &attr, getpid(), -1, -1, 0);
	printf("%s, text %s\n", fd < 0 ? strerror(errno) : "opened",
	       *(volatile unsigned char *)probed == before ? "as it was" : "has a breakpoint");
	return probed(-1);
}
EOF
	# In a process there is no jump before there is a program.
	echo '{"prefer": "kernel"}' >"$DIR/kernel.json"
	ours() { timeout -k 5 60 "$BPFSHIMD" --run --unprivileged --policy "$DIR/kernel.json" -- "$@"; }
	plain() { timeout -k 5 60 "$BPFSHIMD" --run --policy "$DIR/kernel.json" -- "$@"; }
	for how in real ours plain; do
		$how "$DIR/itself" >"$DIR/$how"
		grep -qx 'opened, text has a breakpoint' "$DIR/$how" || { cat "$DIR/$how"; return 1; }
	done
}

@test "a directory that the caller may not search stays closed, whatever groups started the daemon" {
	mkdir -m 700 "$DIR/owner"
	mkdir -m 710 "$DIR/group"
	cp "$DIR/sample" "$DIR/owner/"
	cp "$DIR/sample" "$DIR/group/"
	# 12 is a group that root has joined in the second turn only.
	chgrp 12 "$DIR/group"
	real python3 "$DIR/probe" "$DIR/group/sample" "$AT" >"$DIR/real"
	grep -qx opened "$DIR/real"
	for groups in --clear-groups --groups=0,12; do
		# The second form goes another way in the daemon: through a magic link.
		for path in {,/proc/self/root}"$DIR"/{owner,group}/{sample,nothing}; do
			setpriv $groups timeout 60 "$BPFSHIMD" --run --unprivileged -- python3 "$DIR/probe" "$path" "$AT" >"$DIR/ours" 2>&1
			[ "$(tail -1 "$DIR/ours")" = EACCES ] || { echo "$groups $path"; cat "$DIR/ours"; return 1; }
		done
	done
}

@test "a group that the caller has opens what it opens" {
	mkdir -m 710 "$DIR/group"
	cp "$DIR/sample" "$DIR/group/"
	chgrp 12 "$DIR/group"
	cat >"$DIR/tree" <<EOF
for path in $DIR/group/sample /proc/self/root$DIR/group/sample; do
	setpriv --reuid=1 --regid=1 --groups=12 python3 $DIR/probe \$path $AT
	setpriv --reuid=1 --regid=1 --groups=13 python3 $DIR/probe \$path $AT
done
EOF
	timeout 60 "$BPFSHIMD" --run -- sh "$DIR/tree" >"$DIR/ours" 2>&1
	[ "$(paste -sd' ' "$DIR/ours")" = "opened EACCES opened EACCES" ] || { cat "$DIR/ours"; return 1; }
}
