#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Stock bpftrace gives the same results in a container as real root gets without us.

load common

setup() { common_setup; }
teardown() { common_teardown; }

# Lines about this host's limits, and bpftrace's count of probes it is attaching, say nothing of us.
result()
{
	normalise | grep -vE 'RLIMIT_MEMLOCK|^Attaching|^$' | sort
}

# same_as_root PROGRAM [BPFTRACE-ARGUMENT...]: run both ways and compare everything printed
same_as_root()
{
	local program=$1
	shift
	real bpftrace -e "$program" "$@" >"$DIR/real" 2>&1
	ours bpftrace -e "$program" "$@" >"$DIR/ours" 2>&1
	diff <(result <"$DIR/real") <(result <"$DIR/ours")
	[ "$(result <"$DIR/ours" | wc -l)" -ge 1 ]
}

S() { echo "$DIR/sample -n 200"; }

@test "uprobe: count, sum, hist, lhist, avg, stats, min, max" {
	same_as_root "uprobe:$DIR/sample:work { @c = count(); @s = sum(arg0); @h = hist(arg0);
		@l = lhist(arg0, 0, 200, 20); @a = avg(arg0); @t = stats(arg0); @mi = min(arg0); @ma = max(arg0); }" -c "$(S)"
	grep -q '^@c: 200' "$DIR/ours"
}

@test "uprobe: str, filters, printf, maps keyed by comm and by argument" {
	same_as_root "uprobe:$DIR/sample:work /arg0 > 3 && arg0 < 8/ { printf(\"%d %d %s\n\", arg0, arg1, str(arg2)); }
		uprobe:$DIR/sample:work { @[comm, str(arg2)] = count(); }" -c "$(S)"
	grep -q '^6 2 gamma' "$DIR/ours"
}

@test "uretprobe: retval, lhist, per-thread timing map" {
	same_as_root "uprobe:$DIR/sample:work { @start[tid] = nsecs; }
		uretprobe:$DIR/sample:work /@start[tid]/ { @r = lhist(retval, 0, 600, 100); @n = count(); delete(@start[tid]); }" -c "$(S)"
	grep -q '^@n: 200' "$DIR/ours"
}

@test "static target, threads and forked children" {
	same_as_root "uprobe:$DIR/sample-static:work { @ = count(); }" -c "$DIR/sample-static -n 100 -t 4 -f 3"
	grep -q '^@: 1600' "$DIR/ours"
}

@test "usdt without and with semaphore" {
	same_as_root "usdt:$DIR/sample:sample:step { @step = count(); @[str(arg1)] = sum(arg0); }" -c "$(S)"
	grep -q '^@step: 200' "$DIR/ours"
	same_as_root "usdt:$DIR/sample:sample:guarded { @guarded = count(); @s = sum(arg0); }" -c "$(S)"
	grep -q '^@guarded: 200' "$DIR/ours"
}

@test "wildcards" {
	same_as_root "uprobe:$DIR/sample:w*k { @[probe] = count(); } uprobe:$DIR/sample:sample_* { @g = count(); }" -c "$(S)"
	grep -q 'sample:work\]: 200' "$DIR/ours"
}

@test "-l lists probes" {
	real bpftrace -l "uprobe:$DIR/sample:*" >"$DIR/real" 2>/dev/null
	ours bpftrace -l "uprobe:$DIR/sample:*" >"$DIR/ours" 2>/dev/null
	diff "$DIR/real" "$DIR/ours"
	real bpftrace -l 'tracepoint:sched:*' >"$DIR/real" 2>/dev/null
	ours bpftrace -l 'tracepoint:sched:*' >"$DIR/ours" 2>/dev/null
	diff "$DIR/real" "$DIR/ours"
	[ "$(wc -l <"$DIR/ours")" -gt 10 ]
}

@test "BEGIN, END, interval, print, clear, zero, time" {
	same_as_root 'BEGIN { printf("begin\n"); @a[1] = 2; @b = 3; } interval:ms:100 { @i++; if (@i == 3) { print(@a); clear(@a); print(@a); print(@b); exit(); } }
		END { printf("end\n"); clear(@i); }'
	grep -q '^begin' "$DIR/ours"
	grep -q '^end' "$DIR/ours"
}

@test "pid, tid, uid and gid are the container's" {
	ours sh -c "bpftrace -e 'uprobe:$DIR/sample:work { printf(\"seen %d %d %d %d\n\", pid, tid, uid, gid); exit(); }' -c '$DIR/sample -n 1'" >"$DIR/ours"
	# init is 1, the shell 2, bpftrace 3, its child 4
	grep -qE '^seen ([3-9]) \1 0 0$' "$DIR/ours"
}

@test "-p follows one process" {
	cat >"$DIR/two" <<EOF
mkfifo $DIR/a $DIR/b
$DIR/sample -g -n 30 <$DIR/a >/dev/null & one=\$!
$DIR/sample -g -n 70 <$DIR/b >/dev/null & two=\$!
exec 8>$DIR/a 9>$DIR/b
bpftrace -p \$one -e 'BEGIN { printf("attached\n"); } uprobe:$DIR/sample:work { @[pid == '\$one'] = count(); }' >$DIR/bt 2>&1 &
while ! grep -q attached $DIR/bt; do sleep 0.05; done
sleep 0.3
echo >&9; wait \$two
echo >&8; wait \$one
wait
EOF
	for how in real ours; do
		rm -f "$DIR/a" "$DIR/b"
		chmod 777 "$DIR"
		: >"$DIR/bt"
		chmod 666 "$DIR/bt"
		$how sh "$DIR/two" 3>&-
		grep '^@' "$DIR/bt" | sort >"$DIR/$how"
	done
	diff "$DIR/real" "$DIR/ours"
	grep -qx '@\[1\]: 30' "$DIR/ours"
}

@test "usdt with -p" {
	cat >"$DIR/one" <<EOF
mkfifo $DIR/a
$DIR/sample -g -n 40 <$DIR/a >/dev/null & one=\$!
exec 8>$DIR/a
bpftrace -p \$one -e 'BEGIN { printf("attached\n"); } usdt:$DIR/sample:sample:guarded { @ = count(); }' >$DIR/bt 2>&1 &
while ! grep -q attached $DIR/bt; do sleep 0.05; done
sleep 0.3
echo >&8; wait
EOF
	for how in real ours; do
		rm -f "$DIR/a"
		chmod 777 "$DIR"
		: >"$DIR/bt"
		chmod 666 "$DIR/bt"
		$how sh "$DIR/one" 3>&-
		[ "$(grep '^@' "$DIR/bt")" = "@: 40" ]
	done
}

@test "ustack has the call chain" {
	for how in real ours; do
		$how bpftrace -e "uprobe:$DIR/sample:work { @[ustack] = count(); }" -c "$DIR/sample -n 20 -s 100" >"$DIR/$how" 2>&1
	done
	# Same chains, same counts; addresses move with every start.
	diff <(grep -v RLIMIT "$DIR/real" | normalise) <(normalise <"$DIR/ours")
	grep -q ']: 20' "$DIR/ours"
}

@test "tracepoint:syscalls, keyed by comm, with str of an argument and join" {
	# Names that the kernel's fault-free read may find swapped out are counted, not compared.
	same_as_root 'tracepoint:syscalls:sys_enter_openat /comm == "cat" && args->dfd == -100/ { @ = count(); }
		tracepoint:syscalls:sys_exit_openat /comm == "cat"/ { @ret = count(); }' -c "/bin/cat $DIR/.objects /etc/hostname"
	ours bpftrace -e 'tracepoint:syscalls:sys_enter_openat /comm == "cat"/ { @[comm, str(args->filename)] = count(); }' \
		-c "/bin/cat /etc/hostname" >"$DIR/ours" 2>&1
	grep -qx '@\[cat, /etc/hostname\]: 1' "$DIR/ours"
	# Real root sees what the rest of the host executes, too.
	for how in real ours; do
		$how bpftrace -e 'tracepoint:syscalls:sys_enter_execve { join(args->argv); }' -c "/bin/true one two three" >"$DIR/$how" 2>&1
		[ "$(grep -c '^/bin/true one two three$' "$DIR/$how")" -eq 1 ]
	done
	same_as_root 'tracepoint:syscalls:sys_enter_w* /comm == "echo"/ { @[probe] = count(); }' -c "/bin/echo hello"
}

@test "tracepoint:sched" {
	same_as_root 'tracepoint:sched:sched_process_exec /comm == "true"/ { printf("exec %s\n", str(args->filename)); } tracepoint:sched:sched_process_exit /comm == "true"/ { @[comm] = count(); }' -c "/bin/true"
	grep -q 'exec /bin/true' "$DIR/ours"
}

@test "profile and software events see the tenant's work" {
	ours bpftrace -e 'profile:hz:99 { @p[comm] = count(); } software:page-faults:1 { @f[comm] = count(); }' \
		-c "$DIR/sample -n 30000000" >"$DIR/ours" 2>&1
	grep -qE '^@p\[sample\]: [1-9]' "$DIR/ours"
	grep -qE '^@f\[sample\]: [1-9]' "$DIR/ours"
}
