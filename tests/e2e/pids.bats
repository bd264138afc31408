#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Whatever kind of program asks, a pid is the number by which the tenant's own tools know the process.

load common

setup()
{
	common_setup
	# Says its own number, after work that a timer can interrupt.
	cat >"$DIR/say" <<'EOF'
i=0
while [ $i -lt 300000 ]; do i=$((i + 1)); done
echo mine $$
EOF
	chmod 644 "$DIR/say"
}

teardown() { common_teardown; }

# seen PROBE: every number under which PROBE meets the shell is the one the shell gives itself, both ways
seen()
{
	local how mine
	for how in real ours; do
		"$how" bpftrace -e "$1 /comm == \"sh\"/ { @hit[pid, tid] = count(); }" -c "/bin/sh $DIR/say" >"$DIR/$how" 2>&1
		mine=$(sed -n 's/^mine //p' "$DIR/$how")
		[ -n "$mine" ]
		sed -nE 's/^(@hit\[[0-9]+, [0-9]+\]).*/\1/p' "$DIR/$how" >"$DIR/hits"
		grep -qxF "@hit[$mine, $mine]" "$DIR/hits" || { cat "$DIR/$how"; return 1; }
	done
	# Real root may meet another shell of the host's; in the container there is only this one.
	[ "$(wc -l <"$DIR/hits")" -eq 1 ]
	# The container's numbers are small: the host's would have been noticed.
	[ "$mine" -lt 100 ]
}

@test "tracepoint" { seen tracepoint:syscalls:sys_enter_write; }

@test "profile" { seen profile:hz:499; }

@test "software" { seen software:page-faults:1; }

@test "tracepoint of the scheduler" { seen tracepoint:sched:sched_process_exit; }

@test "uprobe in a library" { seen "uprobe:$(ldd /bin/sh | grep -o '/.*/libc.so.6'):write"; }

@test "maps keyed by comm, pid and tid, with threads and children" {
	for how in real ours; do
		"$how" bpftrace -e "uprobe:$DIR/sample:work { @k[comm, pid, tid] = count(); @p[pid] = count(); }" \
			-c "$DIR/sample -n 25 -t 3 -f 2" >"$DIR/$how" 2>&1
	done
	# Nine threads of three processes, whatever their numbers.
	diff <(sed -nE 's/^(@[kp]\[)[^]0-9]*[0-9, ]+\]/\1]/p' "$DIR/real" | sort) \
		<(sed -nE 's/^(@[kp]\[)[^]0-9]*[0-9, ]+\]/\1]/p' "$DIR/ours" | sort)
	[ "$(grep -cE '^@k\[sample, [0-9]+, [0-9]+\]: 25$' "$DIR/ours")" -eq 9 ]
	[ "$(grep -cE '^@p\[[0-9]+\]: 75$' "$DIR/ours")" -eq 3 ]
}
