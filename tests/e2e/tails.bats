#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Programs that go on as others do so in the traced process.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/tails "$PROGRAMS"/tails.bpf.o "$DIR/"
}

teardown() { common_teardown; }

@test "tail calls, their limit, functions that make them, entries that change: as in the kernel" {
	real "$DIR/tails" 20000 >"$DIR/real"
	inside "$DIR/tails" 200000 >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	diff "$DIR/real" "$DIR/inside"
	[ "$(grep -c right "$DIR/inside")" -eq 8 ]
	inside "$DIR/tails" 500000 4 >"$DIR/inside"
	diff "$DIR/real" "$DIR/inside"
}

@test "with both placements allowed they run in the process, and its kernel half is right too" {
	echo '{"prefer": "user"}' >"$DIR/both.json"
	timeout -k 5 60 "$BPFSHIMD" --run --unprivileged --policy "$DIR/both.json" -- "$DIR/tails" 500000 2 >"$DIR/both"
	[ "$(grep -c right "$DIR/both")" -eq 8 ]
	ours "$DIR/tails" 20000 >"$DIR/ours"
	[ "$(grep -c right "$DIR/ours")" -eq 8 ]
}

@test "the tool killed while they run: targets go on, nothing is left" {
	for i in 1 2 3; do
		inside sh -c "$DIR/tails 100000000 2 >/dev/null & sleep 1.$i; kill -9 \$!; $DIR/tails 1000" >"$DIR/inside"
		[ "$(grep -c right "$DIR/inside")" -eq 8 ]
	done
	wait_for 10 same_objects
}
