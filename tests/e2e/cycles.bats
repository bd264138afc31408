#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Programs come and go all the time in one busy process: room for their code is found again.

load common

setup()
{
	common_setup
	cp "$PROGRAMS/cycles" "$DIR/"
}
teardown() { common_teardown; }

@test "more code than there is room for, one after the other" {
	# 56 KB of code each time; there are 32 MiB.
	inside "$DIR/cycles" 700 8000 2 20 >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qx 'rounds 700, calls counted: yes' "$DIR/out"
	refute grep -q 'code part is full' "$DIR/err"
}

@test "attached and detached as fast as it goes, to four threads" {
	inside "$DIR/cycles" 300 20 4 >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qx 'rounds 300, calls counted: yes' "$DIR/out"
}
