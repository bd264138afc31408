#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Where processes come first: probes whose maps, or file, a program in the kernel needs too move there.

load common

setup()
{
	common_setup
	cp "$PROGRAMS/moves" "$DIR/"
	echo '{"prefer": "user"}' >"$DIR/inside.json"
}

teardown()
{
	common_teardown
}

# moved N: so many times
moved() { [ "$(grep -cE '[0-9]+ probes moved into the kernel' "$DIR/err")" -eq "$1" ]; }

@test "calls stream while a probe moves into the kernel: each is counted once, 40 times over" {
	local i how
	: >"$DIR/err"
	for i in $(seq 20); do
		for how in "" link; do
			# One round each: a probe does not come back into the process at once.
			inside "$DIR/moves" 1 $((20000 + i * 2000)) $how >"$DIR/out" 2>>"$DIR/err"
			cat "$DIR/out"
			grep -qx 'rounds 1, right 1, status 0' "$DIR/out"
		done
	done
	moved 40
}

@test "bpftrace: uprobes, a return probe, a tracepoint and a clock share maps, as for real root" {
	# The return probe is attached before the uprobe, which shares a map with the tracepoint.
	cat >"$DIR/script" <<EOF
tracepoint:syscalls:sys_enter_sched_yield /comm == "sample"/ { @n["k"] = count(); }
uprobe:$DIR/sample:work { @n["u"] = count(); @args = hist(arg0 % 1000); }
uretprobe:$DIR/sample:work { @r = count(); @odd[retval % 2] = count(); }
interval:ms:50 { @ticks["i"] = count(); }
END { clear(@ticks); }
EOF
	real bpftrace "$DIR/script" -c "$DIR/sample -n 5000 -t 3" 2>/dev/null | sort >"$DIR/real"
	inside bpftrace "$DIR/script" -c "$DIR/sample -n 5000 -t 3" 2>"$DIR/err" | sort >"$DIR/inside"
	cat "$DIR/err"
	diff "$DIR/real" "$DIR/inside"
	grep -qx '@r: 15000' "$DIR/inside"
	moved 1
}

@test "a target that hits all the time with four threads: nobody suffers, and the tool's numbers go on" {
	cat >"$DIR/tree" <<EOF
$DIR/sample -n 400000000 -t 4 >$DIR/sample.out 2>&1 & target=\$!
sleep 0.3
timeout -s INT 6 bpftrace -e 'interval:ms:100 { @n["i"] = count(); }
	uprobe:$DIR/sample:work { @n["u"] = count(); @h = hist(arg0); } uretprobe:$DIR/sample:work { @r = count(); }'
kill -0 \$target && kill \$target
wait \$target
echo "status \$?"
EOF
	touch "$DIR/sample.out"
	chmod 666 "$DIR/sample.out"
	inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	moved 1
	grep -qE '^@n\[u\]: [1-9][0-9]{4,}$' "$DIR/out"
	grep -qE '^@n\[i\]: [1-9]' "$DIR/out"
	grep -qx 'status 143' "$DIR/out"
}

@test "a process that cannot be stopped: the kernel's program is refused, and the probe goes on" {
	inside "$DIR/moves" 3 200000 traced >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qx 'rounds 3, right 3, status 0' "$DIR/out"
	moved 0
	grep -q 'is traced by another process\|another process traces it' "$DIR/err"
}

@test "arrays come and go in a process that lives on: 150 with room for 40, and calls stream meanwhile" {
	echo '{"kernel": "deny", "quotas": {"maps": 40}}' >"$DIR/inside.json"
	inside "$DIR/moves" 150 20000 arrays >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qx 'rounds 150, right 150, status 0' "$DIR/out"
}

@test "a process that kept an idle jump: no breakpoint of the kernel's comes over it" {
	cat >"$DIR/tree" <<EOF
$DIR/sample -n 400000000 -t 1 >/dev/null 2>&1 & target=\$!
bpftrace -e 'uprobe:$DIR/sample:work { @ = count(); }' >$DIR/first 2>&1 & tool=\$!
for i in \$(seq 100); do
	grep -q Attaching $DIR/first && break
	sleep 0.1
done
sleep 1
strace -f -o /dev/null -e trace=none -p \$target 2>/dev/null & tracer=\$!
sleep 1
kill -INT \$tool
wait \$tool
cat $DIR/first
timeout -s INT 5 bpftrace -e 'uprobe:$DIR/sample:work { @ = count(); }'
kill \$tracer
wait \$tracer
sleep 0.5
kill \$target
wait \$target
echo "status \$?"
EOF
	touch "$DIR/first"
	chmod 666 "$DIR/first"
	inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qE '^@: [1-9]' "$DIR/out"
	grep -q 'a process that could not be changed still has a jump there' "$DIR/err"
	grep -qx 'status 143' "$DIR/out"
}

@test "a process that opened the file before and maps it in the middle of the move: no jump comes where the kernel has its breakpoint" {
	cp "$PROGRAMS/moves" "$DIR/copy"
	inside "$DIR/moves" 5 50000 late "$DIR/copy" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qx 'rounds 5, right 5' "$DIR/out"
	[ "$(grep -c ': moved, ' "$DIR/out")" -ge 3 ]
}

@test "and in the middle of three million calls" {
	local i
	for i in 1 2 3 4 5; do
		inside "$DIR/moves" 1 1500000 >"$DIR/out" 2>"$DIR/err"
		cat "$DIR/out" "$DIR/err"
		grep -qx 'rounds 1, right 1, status 0' "$DIR/out"
		moved 1
	done
}
