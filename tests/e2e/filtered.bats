#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Targets that get seccomp filters of their own after they were patched, which would kill them for the system
# calls of our helpers: they never notice, and are not traced any more.

load common

setup()
{
	common_setup
	cp "$PROGRAMS/filtered" "$DIR/"
	touch "$DIR/bt" "$DIR/out"
	chmod 777 "$DIR" "$DIR/bt" "$DIR/out"
	cat >"$DIR/script.bt" <<EOF
uprobe:$DIR/filtered:filtered_work { @ = count(); @s[str(arg2)] = count(); @c[comm, pid] = count(); }
uretprobe:$DIR/filtered:filtered_work { @r = count(); @u[ustack(2)] = count(); }
uretprobe:$DIR/filtered:filtered_outer { @o[str(reg("sp"))] = count(); }
EOF
}
teardown() { common_teardown; }

# filtered_tree HOW BEFORE AFTER ATTACHES: the target, and bpftrace again and again while it runs
filtered_tree()
{
	cat >"$DIR/tree" <<EOF
$DIR/filtered $1 $2 $3 >$DIR/out & target=\$!
while kill -0 \$target 2>/dev/null; do
	timeout -k 0.5 -s INT $4 bpftrace $DIR/script.bt >$DIR/bt 2>&1
	grep -q '^@r: [1-9]' $DIR/bt && echo counted
done
wait \$target
echo "status \$?"
EOF
}

@test "prctl(), seccomp() with and without TSYNC, in a probed function, then a fork: the target lives" {
	for how in prctl seccomp tsync inside child; do
		filtered_tree $how 3 3 5
		inside sh "$DIR/tree" >"$DIR/log" 2>"$DIR/err"
		echo "$how"; cat "$DIR/log" "$DIR/out"; sort "$DIR/err" | uniq -c
		grep -q '^filtered ok$' "$DIR/out"
		grep -q '^status 0$' "$DIR/log"
		grep -q 'not traced any more: it has seccomp filters of its own' "$DIR/err"
	done
}

# Its other threads get the filter wherever they are: in a hit, most likely.
@test "TSYNC while threads of the target do nothing but hit, again and again: no target is killed" {
	cat >"$DIR/tree" <<EOF
bpftrace $DIR/script.bt >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 1.5
for try in \$(seq 60); do
	$DIR/filtered tsync 0.02 0.03 >>$DIR/out || echo "status \$?"
done
$STOP_TOOL
EOF
	inside sh "$DIR/tree" >"$DIR/log" 2>"$DIR/err"
	cat "$DIR/log"; grep -v 'not traced' "$DIR/err" | sort | uniq -c
	lacks "$DIR/log" status
	[ "$(grep -c '^filtered ok$' "$DIR/out")" -eq 60 ]
	[ "$(grep -c 'not traced any more' "$DIR/err")" -eq 60 ]
}

@test "a silent target is not woken by probes that come later, nor by those that go" {
	for how in prctl tsync late; do
		filtered_tree $how 2 8 1.2
		inside sh "$DIR/tree" >"$DIR/log" 2>"$DIR/err"
		echo "$how"; cat "$DIR/log" "$DIR/out"; sort "$DIR/err" | uniq -c
		grep -q '^filtered ok$' "$DIR/out"
		grep -q '^status 0$' "$DIR/log"
		[ "$(grep -c 'not traced any more' "$DIR/err")" -le 1 ]
		grep -q 'seccomp filters of its own, which may not' "$DIR/err"
	done
}

@test "a call that fails leaves no filter, and the next probe finds the process again" {
	filtered_tree none 2 6 1.5
	inside sh "$DIR/tree" >"$DIR/log" 2>"$DIR/err"
	cat "$DIR/log" "$DIR/out"; sort "$DIR/err" | uniq -c
	grep -q '^filtered ok$' "$DIR/out"
	grep -q '^status 0$' "$DIR/log"
	[ "$(grep -c '^counted$' "$DIR/log")" -ge 2 ]
}

@test "bpfshimctl ps: such a process is no target any more, and the reason says so" {
	cat >"$DIR/tree" <<EOF
$DIR/filtered prctl 3 6 >$DIR/out &
exec bpftrace $DIR/script.bt >$DIR/bt 2>&1
EOF
	inside sh "$DIR/tree" 2>"$DIR/err" 3>&- &
	started $!
	wait_for 12 grep -q 'not traced any more' "$DIR/err"
	sleep 1
	"$BPFSHIMCTL" ps --json >"$DIR/ps.json"
	cat "$DIR/ps.json"
	python3 - "$DIR/ps.json" "$DIR/filtered" <<'EOF'
import json, sys
links = [l for d in json.load(open(sys.argv[1])) for t in d["tenants"] for l in t["links"] if l["target"] == sys.argv[2]]
assert len(links) == 3, links
for link in links:
    assert link["targets"] == 0 and "1 not traced any more: seccomp filters of their own" in link["reason"], link
EOF
}

# More of them than the daemon has threads, all waiting for those who change targets, whom a call of the target
# must reach meanwhile.
@test "many processes that ask for filters at once while probes come and go: nobody waits for ever" {
	cp "$PROGRAMS/orphans" "$DIR/"
	cat >"$DIR/tree" <<EOF
(while [ ! -e $DIR/over ]; do $DIR/sample -n 3000 -t 2 -s 20; done) >$DIR/sums &
$DIR/orphans 14 12 >$DIR/out & orphans=\$!
for try in 1 2 3; do
	timeout -k 0.5 -s INT 5 bpftrace -e 'uprobe:$DIR/sample:work { @ = count(); } uretprobe:$DIR/sample:outer { @r = count(); }' >$DIR/bt 2>&1
	grep -q '^@: [1-9]' $DIR/bt && echo counted
done
wait \$orphans
touch $DIR/over
EOF
	touch "$DIR/sums"
	chmod 666 "$DIR/sums"
	inside sh "$DIR/tree" >"$DIR/log" 2>"$DIR/err"
	cat "$DIR/log" "$DIR/out"; sort "$DIR/err" | uniq -c
	grep -q '^0 hung, 0 lost$' "$DIR/out"
	grep -q '^counted$' "$DIR/log"
}
