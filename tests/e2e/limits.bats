#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a traced process may map and lock is what it could untraced: the region takes little of its address space.

load common

setup()
{
	common_setup
	cp "$PROGRAMS/limits" "$DIR/"
	touch "$DIR/bt" "$DIR/out"
	chmod 777 "$DIR" "$DIR/bt" "$DIR/out"
}
teardown() { common_teardown; }

SCRIPT='uprobe:PROGRAM:limits_work { @ = count(); @k[arg0] = count(); } uretprobe:PROGRAM:limits_work { @r = hist(retval); }'

# limited HOW SECONDS: the target, and a tool that comes when it runs
limited()
{
	cat >"$DIR/tree" <<EOF
$DIR/limits $1 $2 >$DIR/out & target=\$!
bpftrace -e '${SCRIPT//PROGRAM/$DIR/limits}' >$DIR/bt 2>&1 & tool=\$!
wait \$target
echo "status \$?"
$STOP_TOOL
EOF
	inside sh "$DIR/tree" >"$DIR/log" 2>"$DIR/err"
	echo "$1"; cat "$DIR/log" "$DIR/out" "$DIR/err"; grep '^@[^k]*:' "$DIR/bt"
	grep -q '^status 0$' "$DIR/log"
	grep -q '^limits ok$' "$DIR/out"
}

@test "RLIMIT_AS and mlockall(): what the process wants of them it gets, and it is traced" {
	for how in as lock; do
		limited $how 4
		grep -q '^@: [1-9]' "$DIR/bt"
	done
}

@test "an RLIMIT_AS that leaves little: the process is refused with a reason" {
	limited tight 4
	lacks "$DIR/bt" '^@: [1-9]'
	grep -q 'too much of what RLIMIT_AS leaves' "$DIR/err"
}

# The second tool's maps are so large that the region must grow to where the target has memory of its own.
@test "memory of the process between the pieces of the region stays its own; growing there is refused" {
	cat >"$DIR/tree" <<EOF
$DIR/limits hole 11 >$DIR/out & target=\$!
bpftrace -e 'uprobe:$DIR/limits:limits_work { @ = count(); }' >$DIR/bt 2>&1 & tool=\$!
sleep 4
BPFTRACE_MAP_KEYS_MAX=60000 timeout -k 0.5 -s INT 4 bpftrace -e 'uprobe:$DIR/limits:limits_work { @k[arg0] = count(); }' >$DIR/bt2 2>&1
wait \$target
echo "status \$?"
$STOP_TOOL
EOF
	touch "$DIR/bt2"
	chmod 666 "$DIR/bt2"
	inside sh "$DIR/tree" >"$DIR/log" 2>"$DIR/err"
	cat "$DIR/log" "$DIR/out" "$DIR/err" "$DIR/bt"; tail -3 "$DIR/bt2"
	grep -q '^limits ok$' "$DIR/out"
	grep -q '^status 0$' "$DIR/log"
	grep -q 'memory of its own lies where the region belongs' "$DIR/err"
	grep -q '^@: [1-9]' "$DIR/bt"
}

@test "maps that come later make the region grow in a process that has it" {
	cat >"$DIR/tree" <<EOF
$DIR/limits as 11 >$DIR/out & target=\$!
bpftrace -e 'uprobe:$DIR/limits:limits_work { @ = count(); }' >$DIR/bt 2>&1 & tool=\$!
sleep 3
grep -c memfd: /proc/\$target/maps
BPFTRACE_MAP_KEYS_MAX=60000 bpftrace -e 'uprobe:$DIR/limits:limits_work { @k[arg0] = count(); @n = count(); }' >$DIR/bt2 2>&1 & second=\$!
sleep 4
grep memfd: /proc/\$target/maps
kill -INT \$second; sleep 0.5; kill -INT \$second
wait \$target
echo "status \$?"
$STOP_TOOL
EOF
	touch "$DIR/bt2"
	chmod 666 "$DIR/bt2"
	inside sh "$DIR/tree" >"$DIR/log" 2>"$DIR/err"
	cat "$DIR/log" "$DIR/out" "$DIR/err" "$DIR/bt"; tail -3 "$DIR/bt2"
	grep -q '^limits ok$' "$DIR/out"
	grep -q '^status 0$' "$DIR/log"
	grep -q '^@: [1-9]' "$DIR/bt"
	grep -q '^@n: [1-9]' "$DIR/bt2"
}
