#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Maps whose values have locks or timers in them.

load common

setup()
{
	common_setup
	cp "$PROGRAMS/locked" "$DIR/"
}

teardown() { common_teardown; }

@test "element commands with BPF_F_LOCK, and programs that may not use such maps: as the kernel says" {
	real "$DIR/locked" >"$DIR/real"
	ours "$DIR/locked" >"$DIR/ours"
	diff "$DIR/real" "$DIR/ours"
	grep -qx 'tracing progs cannot use bpf_spin_lock yet' "$DIR/ours"
	grep -qx 'tracing progs cannot use bpf_timer yet' "$DIR/ours"
	# Without the kernel's verifier, too; what it does not trace there is not loaded.
	inside "$DIR/locked" >"$DIR/inside"
	cat "$DIR/inside"
	diff <(grep -v 'socket filter' "$DIR/real") <(grep -v 'socket filter' "$DIR/inside")
}

@test "BTF that would keep the kernel busy for ever is refused before it sees it" {
	real "$DIR/locked" 10 >"$DIR/real"
	ours "$DIR/locked" 10 >"$DIR/ours"
	diff "$DIR/real" "$DIR/ours"
	for levels in 22 30 100; do
		ours timeout 20 "$DIR/locked" $levels >"$DIR/ours" 2>"$DIR/err"
		cat "$DIR/ours" "$DIR/err"
		grep -qx 'btf: E2BIG' "$DIR/ours"
		grep -q 'more structures in structures' "$DIR/err"
	done
}
