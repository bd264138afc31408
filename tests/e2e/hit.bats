#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Programs of uprobes and uretprobes run in the traced process: what stock bpftrace prints is what real root
# gets from the kernel, the kernel has neither bytecode nor breakpoint, and the target never notices.

load common

setup() { common_setup; }
teardown() { common_teardown; }

result()
{
	normalise | grep -vE 'RLIMIT_MEMLOCK|^Attaching|^$|^bpfshimd: ' | sort
}

# script SAMPLE: the three programs, for one sample program
script()
{
	cat <<EOF
uprobe:$DIR/$1:work { @[comm] = count(); @h = hist(arg0); @last = arg1; }
uretprobe:$DIR/$1:work { @r = lhist(retval, 0, 100, 10); }
uprobe:$DIR/$1:work /arg0 == 7/ { printf("%d %s %s\n", pid > 0, comm, str(arg2)); }
EOF
}

# gated FILE: files of a tree whose target waits for a line before it starts
gated()
{
	mkfifo -m 666 "$DIR/gate" 2>/dev/null || true
	touch "$DIR/bt" "$DIR/sums"
	chmod 777 "$DIR" "$DIR/bt" "$DIR/sums"
}

# target_waits: find the sample that waits at the gate; its pid is in $DIR/target from then on
target_waits()
{
	pgrep -f "^$DIR/sample.* -g" | head -1 >"$DIR/target"
	[ -s "$DIR/target" ]
}

patched()
{
	text_touched "$(<"$DIR/target")" "$DIR/$1"
}

@test "three programs, target started afterwards: dynamic and static give what real root gets" {
	for sample in sample sample-static; do
		script $sample >"$DIR/script.bt"
		real bpftrace "$DIR/script.bt" -c "$DIR/$sample -n 200" >"$DIR/real" 2>&1
		inside bpftrace "$DIR/script.bt" -c "$DIR/$sample -n 200" >"$DIR/inside" 2>&1
		diff <(result <"$DIR/real") <(result <"$DIR/inside")
		grep -q "^@\[$sample\]: 200" "$DIR/inside"
		grep -q '^1 sample.* delta' "$DIR/inside"
	done
}

@test "the same programs again and again in one tree: the first time and from the cache, what real root gets" {
	script sample >"$DIR/script.bt"
	real bpftrace "$DIR/script.bt" -c "$DIR/sample -n 200" >"$DIR/real" 2>&1
	touch "$DIR"/inside.{1,2,3}
	chmod 666 "$DIR"/inside.{1,2,3}
	inside sh -c 'for i in 1 2 3; do bpftrace "$1/script.bt" -c "$1/sample -n 200" >"$1/inside.$i" 2>&1; done' \
		sh "$DIR"
	for i in 1 2 3; do
		diff <(result <"$DIR/real") <(result <"$DIR/inside.$i")
	done
}

@test "three programs, target running already, with threads: exact counts, unchanged output" {
	gated
	for sample in sample sample-static; do
		script $sample >"$DIR/script.bt"
		cat >"$DIR/tree" <<EOF
$DIR/$sample -g -n 500 -t 4 -s 200 <$DIR/gate >$DIR/sums & target=\$!
exec 3>$DIR/gate
bpftrace $DIR/script.bt >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 1.5
echo go >&3
wait \$target
echo "status \$?" >>$DIR/sums
$STOP_TOOL
EOF
		for how in real inside; do
			: >"$DIR/bt"
			$how sh "$DIR/tree" 2>"$DIR/err"
			cp "$DIR/bt" "$DIR/$how"; cp "$DIR/sums" "$DIR/$how.sums"
		done
		diff <(result <"$DIR/real") <(result <"$DIR/inside")
		diff "$DIR/real.sums" "$DIR/inside.sums"
		grep -q "^@\[$sample\]: 2000" "$DIR/inside"
		grep -q '^status 0' "$DIR/inside.sums"
	done
}

# signals_of PID: of its status, while nobody has stopped it, which blocks them
signals_of()
{
	local status
	for i in $(seq 1000); do
		status=$(<"/proc/$1/status")
		grep -qE '^TracerPid:\s*0$' <<<"$status" && break
		sleep 0.005
	done
	grep -E '^Sig(Cgt|Ign|Blk)' <<<"$status"
}

# same_signals PID LINES: of its status
same_signals()
{
	grep -E '^Sig(Cgt|Ign|Blk)' "/proc/$1/status" | diff - <(echo "$2")
}

@test "the kernel holds stubs and no uprobe; the site jumps; afterwards its bytes are those of the file" {
	gated
	cat >"$DIR/tree" <<EOF
$DIR/sample -g -n 300 -s 3000 <$DIR/gate >$DIR/sums & target=\$!
exec 3>$DIR/gate
bpftrace -e 'uprobe:$DIR/sample:work { @ = count(); } uretprobe:$DIR/sample:outer { @r = count(); }' >$DIR/bt 2>&1 & tool=\$!
while [ ! -e $DIR/go ]; do sleep 0.05; done
echo go >&3
sleep 0.5
$STOP_TOOL
touch $DIR/detached
wait \$target
echo "status \$?" >>$DIR/sums
EOF
	inside sh "$DIR/tree" 2>"$DIR/err" 3>&- &
	started $!
	wait_for 10 target_waits
	local target
	target=$(<"$DIR/target")
	# While it is being loaded it has files open.
	wait_for 10 grep -q "^State:.*sleeping" "/proc/$target/status"
	sleep 0.2
	threads=$(ls "/proc/$target/task" | wc -l)
	fds=$(ls "/proc/$target/fd" | wc -l)
	signals=$(signals_of "$target")
	rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$target/status")
	wait_for 10 patched sample
	sleep 1
	# Nothing but stubs of two instructions, and no event on the file.
	bpf_objects | grep -vxFf "$DIR/.objects" | grep -E '^prog .* name (work|outer)' >"$DIR/progs"
	[ "$(wc -l <"$DIR/progs")" -ge 2 ]
	sed -nE 's/^prog ([0-9]+):.*/\1/p' "$DIR/progs" | while read -r id; do
		bpftool prog show id "$id" | grep -q 'xlated 16B'
	done
	lacks <(bpftool perf show) "$DIR/sample"
	python3 - "$target" "$DIR/sample" <<'EOF'
import subprocess, sys
pid, path = sys.argv[1:]
table = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
at = {l.split()[2]: int(l.split()[0], 16) for l in table.splitlines() if len(l.split()) == 3}
base = min(int(l.split("-")[0], 16) for l in open(f"/proc/{pid}/maps") if l.rstrip().endswith(path))
mem = open(f"/proc/{pid}/mem", "rb")
for name in ("work", "outer"):
    mem.seek(base + at[name])
    assert mem.read(1) == b"\xe9", name
EOF
	[ "$(ls "/proc/$target/task" | wc -l)" -eq "$threads" ]
	[ "$(ls "/proc/$target/fd" | wc -l)" -eq "$fds" ]
	# Blocked for the moment of a visit, which the last of the probes may just be paid for.
	wait_for 2 same_signals "$target" "$signals"
	touch "$DIR/go"
	wait_for 10 test -e "$DIR/detached"
	grown=$(($(awk '/^VmRSS/ { print $2 }' "/proc/$target/status") - rss))
	[ $grown -le 1024 ]
	wait_for 2 text_untouched "$target" "$DIR/sample"
	wait_for 10 grep -q '^status 0' "$DIR/sums"
	grep -q '^@: 300' "$DIR/bt"
	grep -q '^@r: 300' "$DIR/bt"
}

@test "4 threads, a million calls each, counted exactly" {
	echo "uprobe:$DIR/sample:work { @ = count(); } uretprobe:$DIR/sample:work { @r = count(); }" >"$DIR/count.bt"
	for try in 1 2 3; do
		inside bpftrace "$DIR/count.bt" -c "$DIR/sample -n 1000000 -t 4" >"$DIR/bt" 2>&1
		grep -q '^@: 4000000$' "$DIR/bt"
		grep -q '^@r: 4000000$' "$DIR/bt"
	done
}

@test "forked children and 200 short-lived processes are counted exactly" {
	gated
	cat >"$DIR/tree" <<EOF
bpftrace -e 'uprobe:$DIR/sample:work { @ = count(); } uretprobe:$DIR/sample:work { @r = count(); }' >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 1
for i in \$(seq 200); do $DIR/sample -n 10 || echo "status \$?"; done >$DIR/sums
$DIR/sample -n 100 -t 2 -f 10 >>$DIR/sums
$STOP_TOOL
EOF
	inside sh "$DIR/tree" 2>"$DIR/err"
	cat "$DIR/err" "$DIR/bt"
	lacks "$DIR/sums" status
	grep -q '^@: 4200$' "$DIR/bt"
	grep -q '^@r: 4200$' "$DIR/bt"
}

# second_tier: some program's better code is in place
second_tier()
{
	"$BPFSHIMCTL" ps --json >"$DIR/ps.json"
	grep -Eq '"tier": *2' "$DIR/ps.json"
}

@test "bpfshimctl ps: program, placement, reason, targets, hits" {
	gated
	cat >"$DIR/tree" <<EOF
$DIR/sample -g -n 123 -s 2000 <$DIR/gate >/dev/null & target=\$!
exec 3>$DIR/gate
bpftrace -e 'uprobe:$DIR/sample:work { @ = count(); }' >$DIR/bt 2>&1 & tool=\$!
while [ ! -e $DIR/go ]; do sleep 0.05; done
echo go >&3
sleep 1
touch $DIR/counted
while [ -e $DIR/go ]; do sleep 0.05; done
$STOP_TOOL
wait
EOF
	inside sh "$DIR/tree" 2>"$DIR/err" 3>&- &
	local daemon=$!
	started $daemon
	wait_for 10 target_waits
	wait_for 10 patched sample
	touch "$DIR/go"
	wait_for 10 test -e "$DIR/counted"
	# Better code has taken the first one's place by then, or does soon.
	wait_for 10 second_tier
	"$BPFSHIMCTL" ps >"$DIR/ps"
	rm "$DIR/go"
	cat "$DIR/ps"
	grep -q "USER.* 123 " "$DIR/ps"
	python3 - "$DIR/ps.json" "$DIR/sample" <<'EOF'
import json, sys
links = [l for d in json.load(open(sys.argv[1])) for t in d["tenants"] for l in t["links"] if l["target"] == sys.argv[2]]
assert len(links) == 1, links
link = links[0]
assert link["placement"] == "USER" and link["reason"] and link["hits"] == 123, link
assert link["targets"] == 1 and link["missed"] == 0 and link["prog_id"] > 0, link
EOF
	wait $daemon
}

# sums_are WANT: the targets printed nothing else, and ended well
sums_are()
{
	cat "$DIR/sums"
	lacks <(grep -vxE "$1|status 0" "$DIR/sums") .
	[ "$(grep -c '^status 0' "$DIR/sums")" -ge 3 ]
}

@test "kill -9 of bpftrace, of the worker, of the daemon while hits stream: output and status unchanged" {
	local want daemon
	want=$("$DIR/sample" -n 300000 -t 2)
	gated
	cat >"$DIR/tree" <<EOF
(while [ ! -e $DIR/over ]; do $DIR/sample -n 300000 -t 2; echo "status \$?"; done) >$DIR/sums 2>&1 &
targets=\$!
for try in 1 2 3; do
	: >$DIR/bt
	bpftrace -e 'uprobe:$DIR/sample:work { @[comm, arg0 % 100] = count(); } uretprobe:$DIR/sample:work { @r = count(); }
		uprobe:$DIR/sample:work /arg0 % 1000 == 0/ { printf("%d\n", arg0); }' >$DIR/bt 2>&1 &
	tool=\$!
	while ! grep -q '^[0-9]' $DIR/bt; do sleep 0.02; done
	[ \$try -eq 3 ] && break
	kill -9 \$tool
	wait \$tool
done
touch $DIR/streaming
wait \$targets
EOF
	"$BPFSHIMD" --run --unprivileged --policy <(echo '{"kernel": "deny"}') -- sh "$DIR/tree" 2>"$DIR/err" 3>&- &
	daemon=$!
	started $daemon
	wait_for 40 test -e "$DIR/streaming"
	# Both: the one that loads, and the one that makes better code.
	kill -9 $(pgrep -P $daemon bpfshim-worker)
	sleep 0.5
	kill -9 $daemon
	sleep 1.5
	touch "$DIR/over"
	wait_for 20 refute pgrep -f "^$DIR/sample -n"
	sums_are "$want"
	echo 1 >"$(find /sys/fs/cgroup -maxdepth 6 -type d -name "bpfshim-$daemon" | head -1)/cgroup.kill"
	nothing_left $daemon
}

# sites SITE...: a program that counts entries of each, and returns of those that come back in odd ways
sites()
{
	local site
	for site in "$@"; do
		echo "uprobe:$DIR/sites:$site { @[probe] = count(); }"
	done
	for site in recursive tail behind_tail leaper site_padded site_called; do
		echo "uretprobe:$DIR/sites:$site { @r[probe] = count(); @s[probe] = sum(retval); }"
	done
}

PATCHABLE="site_next site_padded site_relative site_called recursive tail behind_tail leaper"

@test "odd sites and returns: padding, relative operands, calls, recursion, tail calls, longjmp" {
	sites $PATCHABLE >"$DIR/script.bt"
	real bpftrace "$DIR/script.bt" -c "$DIR/sites 50" >"$DIR/real" 2>&1
	inside bpftrace "$DIR/script.bt" -c "$DIR/sites 50" >"$DIR/inside" 2>&1
	diff <(result <"$DIR/real") <(result <"$DIR/inside")
	grep -q "recursive\]: 250" "$DIR/inside"
}

@test "sites without room: a clear error, or the kernel where the policy lets it" {
	for site in site_tight site_looped; do
		run inside bpftrace -e "uprobe:$DIR/sites:$site { @ = count(); }" -c "$DIR/sites 50"
		[ "$status" -ne 0 ]
		[[ "$output" == *'cannot run in the traced process'* ]]
	done
	sites $PATCHABLE site_tight site_looped >"$DIR/script.bt"
	echo '{"prefer": "user"}' >"$DIR/prefer.json"
	real bpftrace "$DIR/script.bt" -c "$DIR/sites 50" >"$DIR/real" 2>&1
	timeout 60 "$BPFSHIMD" --run --unprivileged --policy "$DIR/prefer.json" -- \
		bpftrace -e "$(for s in $PATCHABLE; do echo "uprobe:$DIR/sites:$s { @u[probe] = count(); }"; done)
			uprobe:$DIR/sites:site_tight { @k[probe] = count(); } uprobe:$DIR/sites:site_looped { @k[probe] = count(); }" \
		-c "$DIR/sites 50" >"$DIR/mixed" 2>&1
	cat "$DIR/mixed"
	[ "$(grep -cE '^@k\[.*\]: 50$' "$DIR/mixed")" -eq 2 ]
	[ "$(grep -cE '^@u\[.*\]: (50|100|250)$' "$DIR/mixed")" -eq 8 ]
}

@test "a library that is loaded by dlopen after the attach: counted from the first call" {
	cp "$PROGRAMS/liblate-lib.so" "$DIR/lib.so"
	touch "$DIR/bt"
	chmod 666 "$DIR/bt"
	cat >"$DIR/load" <<EOF
import ctypes, threading
def calls():
    lib = ctypes.CDLL("$DIR/lib.so")
    for _ in range(7):
        lib.late_lib_status()
threads = [threading.Thread(target=calls) for _ in range(3)]
for t in threads: t.start()
for t in threads: t.join()
EOF
	cat >"$DIR/tree" <<EOF
bpftrace -e 'uprobe:$DIR/lib.so:late_lib_status { @ = count(); } uretprobe:$DIR/lib.so:late_lib_status { @r = count(); }' >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 1.5
for i in \$(seq 20); do python3 $DIR/load; done
$STOP_TOOL
EOF
	inside sh "$DIR/tree" 2>"$DIR/err"
	cat "$DIR/err" "$DIR/bt"
	grep -q '^@: 420$' "$DIR/bt"
	grep -q '^@r: 420$' "$DIR/bt"
}

# The last call comes when all is read: what was lost before is told in front of its event.
@test "a burst that no reader keeps up with: every event is there, or told as lost" {
	cat >"$DIR/burst" <<EOF
taskset 1 $DIR/sample -n 200000
sleep 1
taskset 1 $DIR/sample -n 1
EOF
	inside bpftrace -e "uprobe:$DIR/sample:work { printf(\"hit %d\n\", arg0); }" -c "/bin/sh $DIR/burst" >"$DIR/bt" 2>&1
	local hits lost
	hits=$(grep -c '^hit' "$DIR/bt")
	lost=$(awk '/^Lost [0-9]+ events$/ { n += $2 } END { print n + 0 }' "$DIR/bt")
	echo "$hits events and $lost lost"
	[ "$hits" -gt 1000 ]
	[ "$((hits + lost))" -eq 200001 ]
}

# semaphore: what the static sample, the target, has there
semaphore()
{
	local address
	address=$(nm "$DIR/sample-static" | awk '$3 == "sample_guarded_semaphore" { print $1 }')
	dd if="/proc/$(<"$DIR/target")/mem" bs=1 skip=$((0x$address)) count=2 2>/dev/null | od -A n -t u2 | tr -d ' '
}
semaphore_is() { [ "$(semaphore)" = "$1" ]; }

@test "usdt with a semaphore: raised in running processes, new ones and their children, and lowered again" {
	gated
	strip -o "$DIR/sample-stripped" "$DIR/sample"
	for sample in sample sample-static sample-stripped; do
		cat >"$DIR/tree" <<EOF
$DIR/$sample -g -n 50 -t 4 -f 3 <$DIR/gate >$DIR/sums & target=\$!
exec 3>$DIR/gate
bpftrace -e 'usdt:$DIR/$sample:sample:guarded { @guarded = count(); @s = sum(arg0); } usdt:$DIR/$sample:sample:step { @step = count(); }' >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 1.5
echo go >&3
wait \$target
$DIR/$sample -n 50 -t 4 -f 3 >>$DIR/sums
$STOP_TOOL
EOF
		: >"$DIR/bt"
		inside sh "$DIR/tree" 2>"$DIR/err"
		cat "$DIR/err" "$DIR/bt"
		grep -q '^@guarded: 1600$' "$DIR/bt"
		grep -q '^@s: 39200$' "$DIR/bt"
		grep -q '^@step: 1600$' "$DIR/bt"
	done
	cat >"$DIR/tree" <<EOF
$DIR/sample-static -g -n 50 <$DIR/gate >$DIR/sums & target=\$!
exec 3>$DIR/gate
bpftrace -e 'usdt:$DIR/sample-static:sample:guarded { @ = count(); }' >$DIR/bt 2>&1 & tool=\$!
while [ ! -e $DIR/go ]; do sleep 0.05; done
$STOP_TOOL
while [ ! -e $DIR/end ]; do sleep 0.05; done
echo go >&3
wait
EOF
	inside sh "$DIR/tree" 2>"$DIR/err" 3>&- &
	started $!
	wait_for 10 target_waits
	wait_for 10 semaphore_is 1
	touch "$DIR/go"
	wait_for 10 semaphore_is 0
	touch "$DIR/end"
}

@test "usdt with a semaphore: lowered again when the daemon is killed" {
	local daemon
	gated
	cat >"$DIR/tree" <<EOF
$DIR/sample-static -g -n 50 <$DIR/gate >$DIR/sums & target=\$!
exec 3>$DIR/gate
bpftrace -e 'usdt:$DIR/sample-static:sample:guarded { @ = count(); }' >$DIR/bt 2>&1 &
while [ ! -e $DIR/end ]; do sleep 0.05; done
echo go >&3
wait \$target
echo "status \$?" >>$DIR/sums
EOF
	"$BPFSHIMD" --run --unprivileged --policy <(echo '{"kernel": "deny"}') -- sh "$DIR/tree" 2>"$DIR/err" 3>&- &
	daemon=$!
	started $daemon
	wait_for 10 target_waits
	wait_for 10 semaphore_is 1
	kill -9 $daemon
	wait_for 5 semaphore_is 0
	touch "$DIR/end"
	wait_for 10 grep -qx 'status 0' "$DIR/sums"
	wait_for 10 nothing_left $daemon
}

@test "usdt with a semaphore in a library that is loaded by dlopen after the attach" {
	cp "$PROGRAMS/libguarded.so" "$DIR/lib.so"
	touch "$DIR/bt"
	chmod 666 "$DIR/bt"
	cat >"$DIR/load" <<EOF
import ctypes
lib = ctypes.CDLL("$DIR/lib.so")
for i in range(7):
    lib.sample_guarded(ctypes.c_long(i))
EOF
	cat >"$DIR/tree" <<EOF
bpftrace -e 'usdt:$DIR/lib.so:sample:guarded { @[arg0] = count(); }' >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 1.5
for i in \$(seq 10); do python3 $DIR/load; done
$STOP_TOOL
EOF
	inside sh "$DIR/tree" 2>"$DIR/err"
	cat "$DIR/err" "$DIR/bt"
	for i in 0 1 2 3 4 5 6; do grep -q "^@\[$i\]: 10\$" "$DIR/bt"; done
}

@test "stacks: the call chains that real root gets, at entries, returns and USDT probes, through probed returns" {
	cat >"$DIR/stacks.bt" <<EOF
uprobe:$DIR/sample:work { @entry[ustack] = count(); @three[ustack(3)] = count(); }
uprobe:$DIR/sample:outer { @outer[ustack] = count(); }
uretprobe:$DIR/sample:work { @return[ustack] = count(); }
usdt:$DIR/sample:sample:step { @usdt[ustack] = count(); }
EOF
	cat >"$DIR/tree" <<EOF
bpftrace $DIR/stacks.bt >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 1.5
$DIR/sample -n 50 -t 2 -s 500
$STOP_TOOL
EOF
	gated
	for how in real inside; do
		: >"$DIR/bt"
		$how sh "$DIR/tree" >/dev/null 2>"$DIR/err"
		cp "$DIR/bt" "$DIR/$how"
	done
	cat "$DIR/inside"
	[ "$(grep -c ']: [15]0*' "$DIR/inside")" -ge 5 ]
	grep -q '^@entry' "$DIR/inside"
	# Each map's chains as one line, addresses without what moves with every start.
	chains() { sed 's/+[0-9]*$//; s/0x[0-9a-f]*\([0-9a-f]\{3\}\)$/\1/' "$1" | awk '/^@/ { line = $0; next } /^\]/ { print line $0; next } { line = line $0 }' | sort; }
	diff <(chains "$DIR/real") <(chains "$DIR/inside")
}

@test "threads asleep in system calls, while probes come and go: no call ends early, or by another error" {
	cp "$PROGRAMS/blocked" "$DIR/"
	cat >"$DIR/tree" <<EOF
$DIR/blocked 10 & target=\$!
for i in \$(seq 14); do
	timeout -k 0.5 -s INT 0.6 bpftrace -e 'uprobe:$DIR/blocked:blocked_work { @ = count(); } uretprobe:$DIR/blocked:blocked_work { @r = count(); }' >$DIR/bt 2>&1
	grep -q '^@r: [1-9]' $DIR/bt && echo counted
done
wait \$target
echo "status \$?"
EOF
	touch "$DIR/bt"
	chmod 666 "$DIR/bt"
	inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out"
	grep -q '^20 kinds of calls, 0 failures, sum as it should be$' "$DIR/out"
	grep -q '^status 0$' "$DIR/out"
	[ "$(grep -c '^counted$' "$DIR/out")" -ge 3 ]
}

# shims TREE: pids of the processes that change targets for the daemon of a tree, now
shims()
{
	local daemon
	for daemon in $(pgrep -f "^$BPFSHIMD --run .*$1"); do
		pgrep -P "$daemon" -x bpfshim-shim
	done
}

@test "who changes the targets is killed on its way: one of them is told as failed, the others have the probe" {
	cat >"$DIR/several.c" <<'EOF'
#include <unistd.h>
__attribute__((noinline)) int several(volatile int n) { n *= 3; n += 1; return n; }
int main(void)
{
	for (int i = 0; i < 60000; i++) {
		several(i);
		usleep(1000);
	}
	return 0;
}
EOF
	gcc -O1 -o "$DIR/several" "$DIR/several.c"
	cat >"$DIR/tree" <<EOF
# So many that there is time to hit who goes from one to the next.
for i in \$(seq 80); do $DIR/several & all="\$all \$!"; done
sleep 0.5
bpftrace -e 'uprobe:$DIR/several:several { @[pid] = count(); }' >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 2.5
$STOP_TOOL
kill -9 \$all
EOF
	touch "$DIR/bt"
	chmod 666 "$DIR/bt"
	inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err" & local tree=$!
	started $tree
	for i in $(seq 2000); do
		shims=$(shims "$DIR/tree") || true
		[ -z "$shims" ] || ! kill -9 $shims 2>/dev/null || break
		sleep 0.002
	done
	wait $tree || true
	cat "$DIR/err" "$DIR/bt"
	grep -q ': 1 processes run on without the probe: process .*: who was to change it was killed' "$DIR/err"
	[ "$(grep -cE '^@\[[0-9]+\]: [0-9]{3,}$' "$DIR/bt")" -ge 79 ]
}

# attach_often TIMES: a script that starts its arguments, and attaches to sharing_work and detaches so often; what is
# slow on a busy machine comes first
attach_often()
{
	cp "$PROGRAMS/sharing" "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/attach" <<PY
import bpf, ctypes, os, struct, subprocess, sys, time
path, prog = sys.argv[1], bpf.prog_load(bpf.KPROBE)
assert isinstance(prog, int), prog
name = ctypes.create_string_buffer(path.encode())
kind = int(open("/sys/bus/event_source/devices/uprobe/type").read())
attr = bytearray(bpf.perf_attr(kind=kind, period=1))
struct.pack_into("2Q", attr, 56, ctypes.addressof(name), bpf.elf_offset(path, "sharing_work"))
target = subprocess.Popen(sys.argv[1:])
time.sleep(0.3)
for turn in range($1):
    event = bpf.perf_event_open(bytes(attr))
    result = bpf.ioctl(event, bpf.IOC_SET_BPF, prog)
    assert event > 2 and result == 0, (turn, event, result)
    os.close(event)
print("attached", flush=True)
print("status", target.wait(), flush=True)
PY
}

@test "processes that share their memory: probes come and go under both, and are counted exactly" {
	attach_often 60
	cat >"$DIR/tree" <<EOF
python3 -B $DIR/attach $DIR/sharing -s 12
mkfifo $DIR/gate2
$DIR/sharing -g -n 20000 <$DIR/gate2 & target=\$!
exec 3>$DIR/gate2
bpftrace -e 'uprobe:$DIR/sharing:sharing_work { @ = count(); }' >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 1.5
echo go >&3
wait \$target
echo "status \$?"
$STOP_TOOL
EOF
	touch "$DIR/bt"
	chmod 777 "$DIR" "$DIR/bt"
	inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/bt" "$DIR/err"
	grep -qx attached "$DIR/out"
	[ "$(grep -cx 'status 0' "$DIR/out")" -eq 2 ]
	grep -qx 'calls 40200' "$DIR/out"
	grep -qx '@: 40200' "$DIR/bt"
	refute grep -q 'without the probe' "$DIR/err"
}

@test "a target that spawns others all the time, while probes come and go: none is lost or missed" {
	attach_often 30
	inside python3 -B "$DIR/attach" "$DIR/sharing" -p 20 >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qx attached "$DIR/out"
	grep -qx 'status 0' "$DIR/out"
	refute grep -q 'without the probe' "$DIR/err"
}
