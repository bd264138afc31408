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
