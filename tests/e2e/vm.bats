#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# bpfshimctl vm: programs in hex by each engine, and what is wrong with bad ones.

load common

setup() { common_setup; }
teardown() { common_teardown; }

# r0 = *(u8 *)(r1 + 2) + r2
PROGRAM="71 10 02 00 00 00 00 00  0f 20 00 00 00 00 00 00  95 00 00 00 00 00 00 00"

@test "each engine runs a program on memory" {
	for engine in interp jit orc kernel; do
		run timeout 30 "$BPFSHIMCTL" vm --engine $engine "0102 fe 04" <<<"$PROGRAM"
		echo "$output"
		[ "$status" -eq 0 ]
		[ "$output" = 102 ]
	done
	run timeout 30 "$BPFSHIMCTL" vm 01 02 fe 04 <<<"${PROGRAM// /}"
	[ "$output" = 102 ]
}

@test "may_goto ends after as many passes as in Linux 6.12" {
	# r0 = 0; while (may_goto) r0++
	local loop="b7 00 00 00 00 00 00 00  e5 00 02 00 00 00 00 00  07 00 00 00 01 00 00 00  05 00 fd ff 00 00 00 00  95 00 00 00 00 00 00 00"
	for engine in interp jit orc; do
		run timeout 60 "$BPFSHIMCTL" vm --engine $engine <<<"$loop"
		echo "$output"
		[ "$output" = 800000 ]
	done
}

@test "without privilege" {
	cp "$BPFSHIMCTL" "${BPFSHIMCTL%ctl}-vm" "$DIR/"
	for engine in interp jit orc; do
		run timeout 30 setpriv --reuid 65534 --clear-groups "$DIR/bpfshimctl" vm --engine $engine 000005 <<<"$PROGRAM"
		echo "$output"
		[ "$output" = 8 ]
	done
}

@test "the conformance cases pass on interpreter, compiler with either linker, and those that its verifier lets through on the kernel" {
	run timeout 100 "$BPFSHIMCTL" vm --check "$BATS_TEST_DIRNAME/../conformance/cases.tsv"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$output" = "interp: 240 passed, 0 failed
jit: 240 passed, 0 failed
orc: 240 passed, 0 failed" ]
	run timeout 100 "$BPFSHIMCTL" vm --engine kernel --check "$BATS_TEST_DIRNAME/../conformance/cases.tsv"
	[ "$status" -eq 1 ]
	grep -q '^kernel: 22[0-9] passed, ' <<<"$output"
	# What it does run is right.
	refute grep 'expected 0x' <<<"$output"
}

@test "bad input: a clear error, exit status 1, nothing left running" {
	local before
	before=$(pgrep -c bpfshim-vm || true)
	bad() { local text=$1; shift; run timeout 30 "$BPFSHIMCTL" vm "$@" <<<"$INPUT"; echo "$output"; [ "$status" -eq 1 ]; grep -qF "$text" <<<"$output"; }
	INPUT="" bad "the program is empty"
	INPUT="9500" bad "no whole number of instructions"
	INPUT="95zz000000000000" bad "the program is not in hex"
	INPUT=$PROGRAM bad "the memory is not in hex" 0g
	INPUT=$PROGRAM bad "none: no such engine" --engine none
	for engine in interp jit orc; do
		# Reads behind its memory, ends nowhere, jumps out, has no such helper, has no such instruction.
		INPUT="85 00 00 00 c8 00 00 00 95 00 00 00 00 00 00 00" bad "helper" --engine $engine
		INPUT="05 00 09 00 00 00 00 00 95 00 00 00 00 00 00 00" bad "out of the program" --engine $engine
		INPUT="ff 00 09 00 00 00 00 00 95 00 00 00 00 00 00 00" bad "instruction 0" --engine interp
	done
	INPUT="79 10 00 00 00 00 00 00 95 00 00 00 00 00 00 00" bad "a read of 8 bytes" --engine interp 01
	for engine in jit orc; do
		INPUT="b7 01 00 00 00 00 00 00 79 10 00 00 00 00 00 00 95 00 00 00 00 00 00 00" bad "it died of signal 11" --engine $engine
	done
	INPUT="05 00 ff ff 00 00 00 00" bad "budget" --engine interp & local one=$!
	INPUT="05 00 ff ff 00 00 00 00" bad "did not end within" --engine jit
	wait $one
	run timeout 30 "$BPFSHIMCTL" vm --check "$DIR/nothing"
	[ "$status" -eq 1 ]
	grep -qF "No such file or directory" <<<"$output"
	printf 'one\tv1\t-\t95\n' >"$DIR/cases"
	run timeout 30 "$BPFSHIMCTL" vm --check "$DIR/cases"
	[ "$status" -eq 1 ]
	grep -qF "not five fields parted by tabs" <<<"$output"
	grep -qx "interp: 0 passed, 1 failed" <<<"$output"
	[ "$(pgrep -c bpfshim-vm || true)" -eq "$before" ]
}

more_than() { [ "$(pgrep -c bpfshim-vm || true)" -gt "$1" ]; }

@test "too little memory, or no compiler: a clear error, exit status 1, nothing left running" {
	local before failed=0 engine mb
	before=$(pgrep -c bpfshim-vm || true)
	# Wherever it runs out: before it has begun, in the compiler, or not at all.
	for mb in 20 120 180 190 195 200 205 210 220 240 400; do
		for engine in interp jit orc; do
			run timeout 30 prlimit --as=$((mb * 1000000)) "$BPFSHIMCTL" vm --engine $engine 0102fe04 <<<"$PROGRAM"
			echo "$mb MB, $engine: $status: $output"
			if [ "$status" -eq 0 ]; then
				[ "$output" = 102 ]
				continue
			fi
			[ "$status" -eq 1 ]
			grep -q '^bpfshimctl' <<<"$output"
			grep -qi 'memory\|shared librar' <<<"$output"
			failed=$((failed + 1))
		done
	done
	[ "$failed" -ge 2 ]
	[ "$output" = 102 ]
	cp "$BPFSHIMCTL" "$DIR/"
	run timeout 30 "$DIR/bpfshimctl" vm <<<"$PROGRAM"
	echo "$output"
	[ "$status" -eq 1 ]
	grep -qF "bpfshim-vm: No such file or directory" <<<"$output"
	# Who may not use the kernel's engine has none.
	cp "${BPFSHIMCTL%ctl}-vm" "$DIR/"
	run timeout 30 setpriv --reuid 65534 --clear-groups "$DIR/bpfshimctl" vm --engine kernel 0102fe04 <<<"$PROGRAM"
	echo "$output"
	[ "$status" -eq 1 ]
	grep -qF "kernel: the kernel does not load it: Operation not permitted" <<<"$output"
	# Killed with what it runs.
	"$BPFSHIMCTL" vm --engine jit <<<"05 00 ff ff 00 00 00 00" 2>/dev/null &
	wait_for 20 more_than "$before"
	kill -9 $!
	wait_for 20 refute more_than "$before"
}
