#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The README's first command.

load common

@test "tests/demo shows and checks stock bpftrace in an unprivileged container" {
	cd /
	run timeout 120 "$ROOT/tests/demo"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "$output" == *"== all as it should be"* ]]
	[[ "$output" != *WRONG* ]]
}
