#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Maps of maps in traced processes: exact whatever the tool does to them, and as the kernel answers.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/{nested,nested.bpf.o} "$DIR/"
}

teardown() { common_teardown; }

@test "two buffers take turns: each is whole when it was taken out, under four threads" {
	real "$DIR/nested" swap 4 20000 >"$DIR/real"
	inside "$DIR/nested" swap 4 1000000 >"$DIR/inside"
	cat "$DIR/inside"
	grep -q '^80000 calls, 80000 counted, 0 late' "$DIR/real"
	grep -qx '4000000 calls, 4000000 counted, 0 late, 0 without a buffer, 0 without room' "$DIR/inside"
}

@test "each buffer is a new map, or none" {
	inside "$DIR/nested" fresh 4 2000000 >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	grep -qx '8000000 calls, all counted: 1, some without a buffer: 1' "$DIR/inside"
}

@test "an array for each process, taken out of a hash of maps while half of them run" {
	real "$DIR/nested" pids 4 2000 >"$DIR/real"
	grep -qx '8000 calls, all counted: 1' "$DIR/real"
	inside "$DIR/nested" pids 8 100000 >"$DIR/inside"
	diff <(echo '800000 calls, all counted: 1') "$DIR/inside"
}

@test "the kernel's answers to changes of maps of maps, batches and ids included" {
	real "$DIR/nested" answers >"$DIR/real"
	inside "$DIR/nested" answers >"$DIR/inside"
	diff "$DIR/real" "$DIR/inside"
	grep -qx 'by pid, one that can be mapped: -22' "$DIR/inside"
	[ "$(grep -cx 'is what the id says: 1' "$DIR/inside")" -eq 3 ]
}

@test "many arrays in one map; a daemon that can map no more says so, and its targets live" {
	inside "$DIR/nested" many 400 >"$DIR/inside"
	grep -qx 'by_pid: all, 1000 of 1000 counted' "$DIR/inside"
	inside "$DIR/nested" many 64 40 >"$DIR/inside"
	grep -qx 'mapped: all, 1000 of 1000 counted' "$DIR/inside"
	(
		ulimit -n 180
		inside "$DIR/nested" many 200 150 >"$DIR/inside" 2>"$DIR/err"
	)
	cat "$DIR/inside" "$DIR/err"
	grep -q '^mapped: not all' "$DIR/inside"
	grep -q 'do not see what was put into a map: Too many open files' "$DIR/err"
}

@test "a program in the kernel has the same maps: the other goes there, before or when it comes" {
	echo '{"prefer": "user"}' >"$DIR/user.json"
	preferred() { timeout -k 5 60 "$BPFSHIMD" --run --unprivileged --policy "$DIR/user.json" -- "$@"; }
	for mode in kernel kernel-first; do
		real "$DIR/nested" $mode >"$DIR/real"
		ours "$DIR/nested" $mode >"$DIR/ours"
		preferred "$DIR/nested" $mode >"$DIR/$mode" 2>"$DIR/$mode.err"
		cat "$DIR/$mode" "$DIR/$mode.err"
		grep -qx 'all counted: 1' "$DIR/real"
		diff "$DIR/real" "$DIR/ours"
		diff "$DIR/real" "$DIR/$mode"
	done
	grep -q '1 probes moved into the kernel' "$DIR/kernel.err"
	lacks "$DIR/kernel-first.err" moved
}

@test "the tool is killed in the middle: what it traced goes on, nothing is left" {
	# cat ends when the child has.
	inside sh -c '("$1" endless & tool=$!; sleep 1; kill -9 $tool; wait $tool) | cat' \
		sh "$DIR/nested" >"$DIR/out" 2>"$DIR/err" & daemon=$!
	started $daemon
	wait $daemon
	cat "$DIR/out" "$DIR/err"
	grep -qx started "$DIR/out"
	grep -qx 'child ended' "$DIR/out"
	wait_for 3 same_objects
}
