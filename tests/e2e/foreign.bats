#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What belongs to others: numbers that do exist, and files that share their bytes with others' files.
# Each test first shows that real root does see it, so that it would notice if we let it through.

load common

setup() { common_setup; }
teardown() { common_teardown; }

@test "ids that exist in the kernel but belong to the host: ENOENT" {
	real bpftrace -e 'BEGIN { printf("up\n"); } uprobe:'"$DIR"'/sample-static:work { @hosts_map = count(); }' >"$DIR/host" 2>&1 3>&- &
	started $!
	wait_for 10 grep -q up "$DIR/host"
	local map prog
	map=$(bpftool map list | sed -n 's/^\([0-9]*\): .*name AT_hosts_map .*/\1/p')
	prog=$(bpftool -j prog list | python3 -c '
import json, sys
print([p["id"] for p in json.load(sys.stdin) if int(sys.argv[1]) in p.get("map_ids", [])][0])' "$map")
	cat >"$DIR/by_id" <<'PY'
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
for what, command, number in (("prog", 13, sys.argv[1]), ("map", 14, sys.argv[2])):
    attr = ctypes.create_string_buffer(struct.pack("III", int(number), 0, 0))
    fd = libc.syscall(321, command, attr, 12)
    print(what, "opened" if fd >= 0 else errno.errorcode[ctypes.get_errno()])
PY
	real python3 "$DIR/by_id" "$prog" "$map" >"$DIR/real"
	[ "$(cat "$DIR/real")" = "prog opened
map opened" ]
	# This tenant has no object at all, so the numbers can be nobody's but the host's.
	ours python3 "$DIR/by_id" "$prog" "$map" >"$DIR/ours"
	[ "$(cat "$DIR/ours")" = "prog ENOENT
map ENOENT" ]
}

# over_one_file COMMAND...: in a private mount namespace where $DIR/a and $DIR/b are overlays of one directory, and
# someone runs the program of a all the time
over_one_file()
{
	timeout -k 5 60 unshare -m sh -c '
		dir=$1
		shift
		mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
		for name in a b; do
			mount -t overlay overlay -o "ro,lowerdir=$dir/lower:$dir/empty" "$dir/$name" || exit 99
		done
		(while [ -e "$dir/noisy" ]; do "$dir/a/sample" -n 40 >/dev/null; done) &
		"$@"
		status=$?
		rm "$dir/noisy"
		wait
		exit $status' sh "$DIR" "$@" 3>&-
}

@test "another overlay of the same lower file is another program" {
	local program="uprobe:$DIR/b/sample:work { @ = count(); } usdt:$DIR/b/sample:sample:step { @step = count(); }"
	mkdir "$DIR"/{a,b,lower,empty}
	cp "$DIR/sample" "$DIR/lower/"
	touch "$DIR/noisy"
	over_one_file bpftrace -e "$program" -c "$DIR/b/sample -n 100 -s 400" >"$DIR/real" 2>&1
	[ "$(sed -n 's/^@: //p' "$DIR/real")" -gt 100 ]
	touch "$DIR/noisy"
	over_one_file "$BPFSHIMD" --run --unprivileged -- bpftrace -e "$program" -c "$DIR/b/sample -n 100 -s 400" >"$DIR/ours" 2>&1
	grep -qx '@: 100' "$DIR/ours"
	grep -qx '@step: 100' "$DIR/ours"
}

@test "a second tenant that traces nothing is as invisible as the host" {
	cat >"$DIR/noise" <<NOISE
echo up >$DIR/up
while [ ! -e $DIR/over ]; do $DIR/sample -n 40 >/dev/null; done
NOISE
	touch "$DIR/up"
	chmod 666 "$DIR/up"
	timeout 60 "$BPFSHIMD" --run --unprivileged -- sh "$DIR/noise" 3>&- &
	local other=$!
	started $other
	wait_for 10 grep -q up "$DIR/up"
	local program="uprobe:$DIR/sample:work { @ = count(); } tracepoint:sched:sched_process_exit /comm == \"sample\"/ { @exits = count(); }"
	real bpftrace -e "$program" -c "$DIR/sample -n 100 -s 400" >"$DIR/real" 2>&1
	ours bpftrace -e "$program" -c "$DIR/sample -n 100 -s 400" >"$DIR/ours" 2>&1
	touch "$DIR/over"
	wait $other
	[ "$(sed -n 's/^@: //p' "$DIR/real")" -gt 100 ]
	[ "$(sed -n 's/^@exits: //p' "$DIR/real")" -gt 1 ]
	grep -qx '@: 100' "$DIR/ours"
	refute grep -qE '^@exits: ([2-9]|1.)' "$DIR/ours"
}
