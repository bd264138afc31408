#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Programs with loops, functions, callbacks and arrays on the stack run in the traced process.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/flow "$PROGRAMS"/flow.bpf.o "$DIR/"
}

teardown() { common_teardown; }

@test "loops and functions compute in the traced process what they compute in the kernel" {
	real "$DIR/flow" 20000 >"$DIR/real"
	inside "$DIR/flow" 200000 >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	[ "$(cat "$DIR/real")" = "$(printf '%s right\n' hash digits turns each stopped)" ]
	diff "$DIR/real" "$DIR/inside"
}

@test "the verifier says of them what the kernel's says" {
	run timeout 60 "$BPFSHIMCTL" verify --against-kernel "$DIR/flow.bpf.o"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(grep -c '^on_[a-z]*: accepted' <<<"$output")" -eq 3 ]
	[ "$(grep -c '^  kernel: accepted' <<<"$output")" -eq 3 ]
}
