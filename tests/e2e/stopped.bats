#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Processes are stopped for a moment whenever probes come and go: signals that meet such a stop, calls that it
# interrupts, and what is left of a process when whoever stopped it dies.

load common

setup() { common_setup; }
teardown() { common_teardown; }

# probing SCRIPT: a tree's commands that start bpftrace in the background and wait until it is attached
probing()
{
	cat <<EOF
bpftrace -e '$1' >$DIR/bt 2>&1 & tool=\$!
for i in \$(seq 100); do grep -q Attaching $DIR/bt && break; sleep 0.1; done
sleep 1
EOF
}

@test "SIGSTOP that meets a starting process while we map into it stops it, and it is counted" {
	cat >"$DIR/stop.py" <<'EOF'
import os, random, signal, sys, time

random.seed(1)
lost = wrong = sent = 0
end = time.time() + 10
while time.time() < end:
    pid = os.posix_spawn(sys.argv[1], [sys.argv[1], "-n", "10", "-s", "60"], os.environ,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", 1, 0)])
    until = time.time() + random.random() * 0.02
    while time.time() < until:
        pass
    os.kill(pid, signal.SIGSTOP)
    sent += 1
    status = os.waitpid(pid, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGCONT)
        status = os.waitpid(pid, 0)[1]
    else:
        lost += 1
    wrong += status != 0
print("enough" if sent > 50 else sent, "lost", lost, "wrong", wrong)
print("calls", sent * 10)
EOF
	touch "$DIR/bt" && chmod 666 "$DIR/bt"
	{
		probing "uprobe:$DIR/sample:work { @ = count(); }"
		echo "python3 $DIR/stop.py $DIR/sample"
		echo "$STOP_TOOL"
	} >"$DIR/tree"
	inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err" "$DIR/bt"
	grep -qx 'enough lost 0 wrong 0' "$DIR/out"
	grep -qx "@: $(sed -n 's/^calls //p' "$DIR/out")" "$DIR/bt"
}

@test "threads asleep in system calls, while another loads a probed library: no call ends early, or by another error" {
	cp "$PROGRAMS"/{blocked,liblate-lib.so} "$DIR/"
	touch "$DIR/bt" && chmod 666 "$DIR/bt"
	{
		probing "uprobe:$DIR/liblate-lib.so:late_lib_status { @ = count(); }"
		echo "$DIR/blocked 6 $DIR/liblate-lib.so; echo \"status \$?\""
		echo "$STOP_TOOL"
	} >"$DIR/tree"
	inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err" "$DIR/bt"
	grep -q '^20 kinds of calls, 0 failures, sum as it should be$' "$DIR/out"
	grep -q '^status 0$' "$DIR/out"
	[ "$(sed -n 's/^@: //p' "$DIR/bt")" -ge 20 ]
}

# hunted SIGNAL...: signals to every process that stops others, while bpftrace starts again and again and targets
# run and start; $DIR/hunt is what hunt.py found, $DIR/bad what was not as it should be
hunted()
{
	local daemon
	touch "$DIR/bt" "$DIR/bad" "$DIR/status" && chmod 666 "$DIR/bt" "$DIR/bad" "$DIR/status"
	cat >"$DIR/tree" <<EOF
target()
{
	$DIR/\$1 -n \$2 -t 3 >$DIR/out.\$1.\$2 2>&1
	status="\$? \$(cat $DIR/out.\$1.\$2)"
	echo "\$status" >>$DIR/status
	echo "\$status" | grep -qx '0 sum [0-9]*' || echo "\$1 \$2: \$status" >>$DIR/bad
}
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
	target sample 3000000 & first=\$!
	target sample-static 3000001 & second=\$!
	bpftrace -e 'uprobe:$DIR/sample*:work { @ = count(); } uretprobe:$DIR/sample*:work { @r = count(); }' >$DIR/bt 2>&1 & tool=\$!
	for i in 1 2 3 4 5; do target sample 100; target sample-static 101; done
	sleep 0.3
	kill -INT \$tool
	target sample 102
	wait \$first; wait \$second
	kill -9 \$tool 2>/dev/null; wait \$tool 2>/dev/null
done
true
EOF
	chmod 777 "$DIR"
	inside sh "$DIR/tree" >/dev/null 2>"$DIR/err" &
	started $!
	wait_for 10 pgrep -f "^$BPFSHIMD --run .*sh $DIR/tree" >/dev/null
	daemon=$(pgrep -o -f "^$BPFSHIMD --run .*sh $DIR/tree")
	timeout 100 python3 "$BATS_TEST_DIRNAME/hunt.py" "$daemon" 100 0.006 "$@" >"$DIR/hunt"
	wait "${STARTED[-1]}"
	cat "$DIR/hunt" "$DIR/bad" "$DIR/bt"
	[ "$(wc -l <"$DIR/status")" -gt 60 ]
}

@test "signals of a terminal do not end who stops processes: they run on unharmed" {
	hunted SIGINT SIGHUP SIGTERM SIGALRM SIGTSTP
	[ ! -s "$DIR/bad" ]
	grep -qE '^[0-9]{2,} 0$' "$DIR/hunt"
}

@test "SIGKILL of who stops processes: they run on unharmed" {
	hunted SIGKILL
	[ ! -s "$DIR/bad" ]
	[ "$(cut -d' ' -f1 "$DIR/hunt")" -ge 20 ]
}

# leaderless: find "sample -e"; process and a living thread of it are in $DIR/target from then on
leaderless()
{
	grep -ls "^$DIR/sample" /proc/[0-9]*/task/*/cmdline | head -1 | cut -d/ -f3,5 | tr / ' ' >"$DIR/target"
	[ -s "$DIR/target" ]
}

@test "a process whose main thread has ended: reached, counted exactly, and let go" {
	local target thread
	mkfifo -m 666 "$DIR/gate"
	touch "$DIR/bt" "$DIR/sums" "$DIR/pid" && chmod 666 "$DIR/bt" "$DIR/sums" "$DIR/pid"
	chmod 777 "$DIR"
	{
		echo "$DIR/sample -e -g -n 500 -t 3 -s 4000 <$DIR/gate >$DIR/sums & target=\$!"
		echo "exec 3>$DIR/gate"
		probing "uprobe:$DIR/sample:work { @ = count(); } uretprobe:$DIR/sample:work { @r = count(); }"
		echo "echo go >&3"
		echo 'sleep 0.5'
		echo "$STOP_TOOL"
		echo "touch $DIR/detached; wait \$target; echo \"status \$?\" >>$DIR/sums"
	} >"$DIR/tree"
	inside sh "$DIR/tree" 2>"$DIR/err" &
	started $!
	wait_for 10 leaderless
	read -r target thread <"$DIR/target"
	wait_for 10 text_touched "$thread" "$DIR/sample"
	grep -q '^State:.*Z' "/proc/$target/status"
	wait_for 20 test -e "$DIR/detached"
	wait_for 2 text_untouched "$thread" "$DIR/sample"
	wait_for 10 grep -q '^status' "$DIR/sums"
	cat "$DIR/bt" "$DIR/sums" "$DIR/err"
	grep -qx '@: 1500' "$DIR/bt"
	grep -qx '@r: 1500' "$DIR/bt"
	grep -qx 'status 0' "$DIR/sums"
}
