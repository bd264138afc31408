#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Strings of a target, wherever they are: what the process keeps as long as it runs is read without asking
# the kernel, all else through it, and the result is what real root gets.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/strings "$PROGRAMS"/strings-static "$DIR/"
	cat >"$DIR/attach" <<-'EOF'
	# attach DIR SAMPLE CALLS: trace a target that runs already
	cd $1
	mkfifo gate.$$
	./$2 $3 <gate.$$ >out.$$ & target=$!
	exec 3>gate.$$
	bpftrace script.bt >bt.$$ 2>&1 & tool=$!
	while ! grep -q Attaching bt.$$; do sleep 0.05; done
	sleep 1
	echo go >&3
	wait $target
	sleep 0.2
	kill -INT $tool; (sleep 4; kill -INT $tool; sleep 4; kill -INT $tool) 2>/dev/null & again=$!
	wait $tool; kill $again 2>/dev/null
	cat bt.$$
	EOF
	chmod 777 "$DIR"
}
teardown() { common_teardown; }

# script SAMPLE: every place's strings
script()
{
	local place
	for place in literal variable libc frame argument heap thread; do
		echo "uprobe:$DIR/$1:take_$place { @[\"$place\", str(arg0)] = count(); }"
	done >"$DIR/script.bt"
}

# counting FILE: how often processes called strings ask the kernel for memory, from now on
counting()
{
	real bpftrace -e 'tracepoint:syscalls:sys_enter_process_vm_readv /strncmp(comm, "strings", 7) == 0/ { @ = count(); }
		BEGIN { printf("counting for '"$DIR"'\n"); }' >"$1" 2>&1 &
	started $!
	wait_for 20 grep -q counting "$1"
	COUNTER=$(pgrep -f "^bpftrace -e .*$DIR")
}

# asked FILE: ends it, and prints the number
asked()
{
	local again
	kill -INT "$COUNTER"
	for again in 1 2 3; do
		wait_for 4 grep -q '^@: ' "$1" && break
		kill -INT "$COUNTER" 2>/dev/null || true
	done
	sed -n 's/^@: //p' "$1"
}

results()
{
	grep '^@' "$1" | sort
}

@test "strings of a running target: what stays mapped costs no system call" {
	for sample in strings strings-static; do
		script $sample
		real sh "$DIR/attach" "$DIR" $sample 1000 >"$DIR/real"
		counting "$DIR/asked"
		inside sh "$DIR/attach" "$DIR" $sample 1000 >"$DIR/inside" 2>&1
		asked=$(asked "$DIR/asked")
		results "$DIR/inside"
		echo "asked $asked times"
		diff <(results "$DIR/real") <(results "$DIR/inside")
		[ "$(results "$DIR/inside" | grep -c ': 1000$')" -eq 7 ]
		# A variable, from malloc, and on the other thread's stack.
		[ "$asked" -eq 3000 ]
	done
}

@test "strings of a target that starts later: those of its executable and its first stack cost none" {
	script strings
	echo >"$DIR/line"
	inside true # its daemon's start is not measured
	counting "$DIR/asked"
	inside sh -c "cd $DIR; bpftrace script.bt -c './strings 1000' <line" >"$DIR/inside" 2>&1
	asked=$(asked "$DIR/asked")
	results "$DIR/inside"
	echo "asked $asked times"
	[ "$(results "$DIR/inside" | grep -c ': 1000$')" -eq 7 ]
	# The C library came after the probes.
	[ "$asked" -eq 4000 ]
}
