#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Functions of every shape are counted exactly, in a container as by real root: any number of threads,
# forked and executed processes, and a library that is loaded late.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/{shapes,shapes-static,libshapes.so} "$DIR/"
}
teardown() { common_teardown; }

# counts FILE: what bpftrace counted, as shapes prints what it expects
counts()
{
	sed -nE 's/^@(entries|returns)\[([a-z_]+)\]: ([0-9]+)$/\1 \2 \3/p' "$1" |
		awk '{ names[$2]; n[$1, $2] = $3 }
		END { for (name in names) print name, n["entries", name] + 0, n["returns", name] + 0 }' | sort
}

# counted HOW TARGET ARGS...: trace all functions of the target, but BUT, while it runs; ONLY those it prints
# that match are compared
counted()
{
	local how=$1 target=$2 program= name
	shift 2
	nm "$DIR/$target" | sed -n 's/.* T \(shape_[a-z]*\)$/\1/p' | grep -vx "${BUT:-none}" >"$DIR/names"
	for name in $(<"$DIR/names"); do
		program+="uprobe:$DIR/$target:$name { @entries[\"$name\"] = count(); }"
		[ "$name" = shape_leap ] ||
			program+="uretprobe:$DIR/$target:$name { @returns[\"$name\"] = count(); }"
	done
	"$how" bpftrace -e "$program" -c "$DIR/${TARGET:-$target} $*" >"$DIR/$how" 2>&1
	diff <(counts "$DIR/$how") <(grep "^shape_[a-z]* [0-9]" "$DIR/$how" | grep "${ONLY:-.}" |
		grep -v "${BUT:-none}" | sort)
	[ "$(counts "$DIR/$how" | wc -l)" -gt 0 ]
}

# code TARGET FUNCTION: its instructions, one a line, each behind its distance from the first (decimal)
code()
{
	local start= address text
	objdump -d --no-show-raw-insn "$DIR/$1" | sed -n "/<$2>:/,/^\$/p" | sed -n 's/^ *\([0-9a-f]*\):\t/\1 /p' |
		while read -r address text; do
			start=${start:-$address}
			echo "$((0x$address - 0x$start)) $text"
		done
}

@test "the compiler made the shapes" {
	local target
	for target in shapes shapes-static; do
		[ "$(code $target shape_roomy | sed -n '2s/ .*//p')" -ge 5 ]
		code $target shape_tiny | grep -q '^[1-3] ret'
		code $target shape_tiny | grep -q '^4 .*nop'
		code $target shape_global | grep -q '^[0-4] .*(%rip)'
		code $target shape_choose | grep -q '^[1-4] j[a-z]* '
		code $target shape_again | grep -q ' j[a-z]* .*<shape_again>'
		code $target shape_spin | grep -q ' j[a-z]* .*<shape_spin+0x[1-4]>'
		code $target shape_deep | grep -q ' call .*<shape_deep>'
		code $target shape_tail | grep -q ' jmp .*<shape_tailee>'
	done
	[ "$(code libshapes.so shape_library | sed -n '2s/ .*//p')" -ge 5 ]
}

@test "one thread" {
	counted real shapes -n 20
	counted ours shapes -n 20
}

@test "threads, forked children and executed ones" {
	counted real shapes -n 20 -t 4 -f 10 -x 10
	counted ours shapes -n 20 -t 4 -f 10 -x 10
}

@test "static: threads, forked children and executed ones" {
	counted real shapes-static -n 20 -t 4 -f 10 -x 10
	counted ours shapes-static -n 20 -t 4 -f 10 -x 10
}

@test "a library loaded after the attach" {
	TARGET=shapes ONLY=library
	counted real libshapes.so -n 50 -t 2 -f 3 -x 3 -l "$DIR/libshapes.so"
	counted ours libshapes.so -n 50 -t 2 -f 3 -x 3 -l "$DIR/libshapes.so"
}

# What jumps back into its own first bytes cannot be patched: shape_spin is for the kernel.
@test "in the process: one thread" {
	BUT=shape_spin
	counted inside shapes -n 1000
}

@test "in the process: threads, forked children and executed ones" {
	BUT=shape_spin
	counted inside shapes -n 500 -t 4 -f 40 -x 40
}

@test "in the process, static: threads, forked children and executed ones" {
	BUT=shape_spin
	counted inside shapes-static -n 500 -t 4 -f 40 -x 40
}

@test "in the process: a library loaded after the attach" {
	TARGET=shapes ONLY=library
	counted inside libshapes.so -n 500 -t 2 -f 10 -x 10 -l "$DIR/libshapes.so"
}

# forwarder DAEMON: its thread that moves events sleeps in a futex that is shared with the targets
forwarder()
{
	local task number address operation rest
	for task in /proc/"$1"/task/*; do
		read -r number address operation rest <"$task/syscall" || continue
		[ "$number $operation" = "202 0x0" ] && echo "${task##*/}" >"$DIR/thread" && return 0
	done
	return 1
}

# Keep that thread asleep for longer than bpftrace, once it has disabled its probes, waits for more to read.
@test "in the process: a tool that ends has every event, however late its forwarder is" {
	local daemon
	touch "$DIR/bt"
	chmod 666 "$DIR/bt"
	inside sh -c "(while [ ! -e $DIR/go ]; do sleep 0.05; done; echo) | bpftrace -e 'uprobe:$DIR/shapes:shape_roomy {
		printf(\"hit %d\\n\", arg0); }' -c '$DIR/shapes -n 1000 -g' >$DIR/bt 2>&1" 3>&- &
	started $!
	wait_for 5 pgrep -f "^$BPFSHIMD --run .*$DIR" >/dev/null
	daemon=$(pgrep -o -f "^$BPFSHIMD --run .*$DIR")
	wait_for 10 forwarder "$daemon"
	timeout 30 strace -q -p "$(<"$DIR/thread")" -e trace=futex -e inject=futex:delay_exit=400000 -o "$DIR/strace" 3>&- &
	started $!
	wait_for 5 grep -q futex "$DIR/strace"
	touch "$DIR/go"
	wait_for 20 grep -q '^shape_leap' "$DIR/bt"
	wait_for 10 refute kill -0 "$daemon"
	[ "$(grep -c '^hit' "$DIR/bt")" -eq 1000 ]
}
