#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# bpfshimd --run: statuses, signals, and that nothing stays behind.

load common

setup() { common_setup; }
teardown() { common_teardown; }

# both MODE-independent: STATUS COMMAND
ends_with()
{
	local want=$1 got=0
	shift
	"$BPFSHIMD" --run --unprivileged -- "$@" || got=$?
	[ $got -eq "$want" ] || { echo "unprivileged: $got"; return 1; }
	got=0
	"$BPFSHIMD" --run -- "$@" || got=$?
	[ $got -eq "$want" ] || { echo "plain: $got"; return 1; }
}

@test "exit statuses are the command's" {
	ends_with 0 true
	ends_with 3 sh -c 'exit 3'
	ends_with 137 sh -c 'kill -9 $$'
	ends_with 143 sh -c 'kill -TERM $$'
	ends_with 127 /nonexistent/command
	ends_with 126 /etc/passwd
}

@test "a command line that makes no sense is refused with 125" {
	run "$BPFSHIMD"
	[ "$status" -eq 125 ]
	[[ "$output" == *"--run"* ]]
	run "$BPFSHIMD" --run
	[ "$status" -eq 125 ]
	run "$BPFSHIMD" --nonsense
	[ "$status" -eq 125 ]
	echo '{"kernell": "deny"}' >"$DIR/policy"
	run "$BPFSHIMD" --run --policy "$DIR/policy" -- true
	[ "$status" -eq 125 ]
	[[ "$output" == *kernell* ]]
}

@test "the container's root has no capability in the host and its own pids" {
	run ours sh -c 'id -u; cat /proc/self/uid_map; echo pid $$; grep NoNewPrivs /proc/self/status'
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = 0 ]
	[[ "${lines[1]}" =~ ^[[:space:]]*0[[:space:]]+65534[[:space:]]+1$ ]]
	[ "${lines[2]}" = "pid 2" ]
	[[ "${lines[3]}" == *0 ]]
	run ours mknod "$DIR/x" c 1 1
	[ "$status" -ne 0 ]
	run ours cat /etc/shadow
	[ "$status" -ne 0 ]
	run ours sh -c 'echo 1 >/proc/sys/kernel/perf_event_paranoid'
	[ "$status" -ne 0 ]
}

@test "SIGTERM to the daemon reaches the command" {
	for mode in --unprivileged ""; do
		"$BPFSHIMD" --run $mode -- sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.05; done' >"$DIR/out" &
		local daemon=$! got=0
		started $daemon
		wait_for 5 grep -q ready "$DIR/out"
		kill -TERM $daemon
		wait $daemon || got=$?
		[ $got -eq 9 ]
		nothing_left $daemon
	done
}

@test "background processes end with the command, and nothing is left" {
	ours sh -c 'bpftrace -e "uprobe:'"$DIR"'/sample:work { @ = count(); }" >/dev/null 2>&1 & sleep 1; bpftool map list' >"$DIR/out"
	grep -q 'name AT_' "$DIR/out"
	wait_for 3 same_objects
	refute pgrep -f "$DIR/sample:work"
}

@test "signal dispositions, mask, environment and directory are the caller's" {
	cat >"$DIR/show" <<'EOF'
#!/bin/sh
grep -E '^Sig(Blk|Ign)' /proc/self/status; pwd; echo "$MARK"; cat
EOF
	chmod 755 "$DIR/show"
	cd "$DIR"
	for wrap in "" "$BPFSHIMD --run --" "$BPFSHIMD --run --unprivileged --"; do
		echo input | MARK=here sh -c "trap '' HUP; exec $wrap ./show" >>"$DIR/shown"
	done
	[ "$(sort "$DIR/shown" | uniq -c | grep -cv '^ *3 ')" -eq 0 ]
}

@test "kill -9 of the daemon: the tree runs on, probes are gone, the keeper cleans up" {
	cat >"$DIR/tree" <<EOF
bpftrace -e 'BEGIN { printf("attached\n"); } uprobe:$DIR/sample:work { @ = count(); }' >$DIR/bt 2>&1 &
tool=\$!
$DIR/sample -g -n 50 <$DIR/gate >$DIR/sum
echo status \$? >>$DIR/sum
kill -9 \$tool
EOF
	mkfifo "$DIR/gate"
	touch "$DIR/bt" "$DIR/sum"
	chmod 666 "$DIR/bt" "$DIR/sum" "$DIR/gate"
	# In processes the jumps stay, idle: hit.bats
	echo '{"prefer": "kernel"}' >"$DIR/policy"
	"$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- sh "$DIR/tree" 3>&- &
	local daemon=$!
	started $daemon
	exec 7>"$DIR/gate"
	wait_for 10 grep -q attached "$DIR/bt"
	local target
	target=$(pgrep -f "^$DIR/sample -g")
	wait_for 5 text_touched "$target" "$DIR/sample"
	kill -9 $daemon
	wait $daemon || true
	wait_for 1 text_untouched "$target" "$DIR/sample"
	# The keeper waits asleep: less than a fifth of a second of time in a second.
	local keeper before after
	keeper=$(pgrep -f "^$BPFSHIMD .*$DIR/tree" | head -1)
	before=$(awk '{ print $14 + $15 }' "/proc/$keeper/stat")
	sleep 1
	after=$(awk '{ print $14 + $15 }' "/proc/$keeper/stat")
	[ $((after - before)) -lt 20 ]
	echo >&7
	exec 7>&-
	wait_for 5 grep -q 'status 0' "$DIR/sum"
	[ "$(head -1 "$DIR/sum")" = "$("$DIR/sample" -n 50)" ]
	nothing_left $daemon
}

@test "kill -9 of the tool: its objects are gone within a second, the target runs on" {
	cat >"$DIR/tree" <<EOF
bpftrace -e 'BEGIN { printf("attached\n"); } uprobe:$DIR/sample:work { @ = count(); }' >$DIR/bt 2>&1 &
tool=\$!
$DIR/sample -g -n 50 <$DIR/gate >$DIR/sum &
target=\$!
while ! grep -q attached $DIR/bt; do sleep 0.05; done
kill -9 \$tool
sleep 1
bpftool prog list >$DIR/left; bpftool map list >>$DIR/left; bpftool link list >>$DIR/left
echo >$DIR/gate
wait \$target
EOF
	mkfifo "$DIR/gate"
	touch "$DIR/bt" "$DIR/sum" "$DIR/left"
	chmod 666 "$DIR/bt" "$DIR/sum" "$DIR/left" "$DIR/gate"
	exec 7<>"$DIR/gate"
	ours sh "$DIR/tree" 7>&-
	exec 7>&-
	[ ! -s "$DIR/left" ]
	[ "$(cat "$DIR/sum")" = "$("$DIR/sample" -n 50)" ]
	wait_for 1 same_objects
}

@test "bpfshimctl ps shows the tenant's programs, maps and links" {
	cat >"$DIR/tree" <<EOF
bpftrace -e 'BEGIN { printf("attached\n"); } uprobe:$DIR/sample:work { @ = count(); }' >$DIR/bt 2>&1 &
while ! grep -q attached $DIR/bt; do sleep 0.05; done
while [ ! -e $DIR/done ]; do sleep 0.05; done
EOF
	touch "$DIR/bt"
	chmod 666 "$DIR/bt"
	"$BPFSHIMD" --run --unprivileged -- sh "$DIR/tree" 3>&- &
	local daemon=$!
	started $daemon
	wait_for 10 grep -q attached "$DIR/bt"
	"$BPFSHIMCTL" ps --json | python3 -c '
import json, sys
doc = [d for d in json.load(sys.stdin) if d["pid"] == int(sys.argv[1])][0]
tenant = doc["tenants"][0]
assert any(p["type"] == "kprobe" for p in tenant["progs"]), tenant
assert any(m["name"] == "AT_" for m in tenant["maps"]), tenant
link = [l for l in tenant["links"] if l["kind"] == "uprobe"][0]
assert link["target"].endswith("/sample") and link["placement"] == "USER", link
' $daemon
	"$BPFSHIMCTL" ps | grep -q "$DIR/sample"
	touch "$DIR/done"
	wait $daemon
	nothing_left $daemon
	[ "$("$BPFSHIMCTL" ps --json | tr -d ' \n')" = "[]" ]
}

@test "an unprivileged tree cannot type into root's terminal, nor use root's session keys" {
	cat >"$DIR/type.py" <<'EOF'
import ctypes, errno, fcntl, os, pty, sys, termios
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
out = b""
while True:
    try:
        data = os.read(master, 4096)
    except OSError:
        break
    if not data:
        break
    out += data
os.waitpid(pid, 0)
sys.stdout.write(out.decode().replace("\r", ""))
EOF
	cat >"$DIR/push.py" <<'EOF'
import ctypes, termios
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_ulong, ctypes.c_char_p]
for name, number in (("sti", termios.TIOCSTI), ("linux", 0x541C), ("upper", termios.TIOCSTI | 0x7f << 40)):
    # Not ioctl() of the C library or of Python: the kernel looks at the low half only, and so must we.
    typed = libc.syscall(16, 0, number, b"x") == 0
    print(name, "typed" if typed else ctypes.get_errno())
EOF
	run timeout 20 python3 "$DIR/type.py" "$BPFSHIMD" --run --unprivileged -- python3 "$DIR/push.py"
	[[ "$output" == *"sti 1"* ]]
	[[ "$output" == *"linux 1"* ]]
	[[ "$output" == *"upper 1"* ]]
	cat >"$DIR/keys.py" <<'EOF'
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
READ, JOIN, SESSION = 11, 1, -3
if len(sys.argv) == 2:
    room = ctypes.create_string_buffer(16)
    print("read" if libc.syscall(250, READ, int(sys.argv[1]), room, 16) > 0 else "refused")
else:
    libc.syscall(250, JOIN, None)
    key = libc.syscall(248, b"user", b"bpfshim-test", b"secret", 6, SESSION)
    reader = ["python3", sys.argv[0], str(key)]
    subprocess.run(reader)
    subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] + reader)
    subprocess.run([sys.argv[1], "--run", "--unprivileged", "--"] + reader)
EOF
	# Not even who is nobody needs more than to be of the session.
	[ "$(python3 "$DIR/keys.py" "$BPFSHIMD" run | tr '\n' ' ')" = 'read read refused ' ]
}

@test "nothing in the shared event tree can be written by a tenant" {
	# Where it really lies; the container's mount of it is read-only besides. The pipe is the container's own.
	ours sh -c 'find /sys/kernel/tracing /var/cache/bpfshim/tracing2-* -writable ! -path /sys/kernel/tracing/trace_pipe' >"$DIR/out"
	cat "$DIR/out"
	[ ! -s "$DIR/out" ]
	ours test -r /sys/kernel/tracing/events/sched/sched_switch/format
}
