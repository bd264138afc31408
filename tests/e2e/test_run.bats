#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# PROG_TEST_RUN of programs that run in processes: in the one that asks, as the kernel has it for real root.

load common

setup()
{
	common_setup
	cp "$PROGRAMS/test_run" "$DIR/"
}

teardown()
{
	common_teardown
}

# same ARG...: real root and a container see the same of test_run
same()
{
	real "$DIR/test_run" "$@" >"$DIR/real"
	inside "$DIR/test_run" "$@" >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	[ -s "$DIR/real" ]
	diff "$DIR/real" "$DIR/inside"
}

# looping: test_run in a container, in a run that takes some seconds: $tool and $helper are its and its tracer's pids
looping()
{
	inside "$DIR/test_run" loops "$1" >"$DIR/inside" 2>"$DIR/err" &
	daemon=$!
	started $daemon
	wait_for 5 grep -q . "$DIR/inside"
	tool=$(pgrep -f "^$DIR/test_run loops")
	has_tracer() { helper=$(awk '$1 == "TracerPid:" { print $2 }' "/proc/$tool/status") && [ "$helper" -gt 0 ]; }
	wait_for 5 has_tracer
	sleep 0.3
}

@test "every argument gets the kernel's answer" {
	same attrs
	[ "$(grep -c 'ok' "$DIR/inside")" -eq 6 ]
	grep -q '^runs 6 6$' "$DIR/inside"
}

@test "the caller is the current task: ids, memory, stack, its child's too" {
	same who
	grep -q '^context right, memory right, cpu right, stack right$' "$DIR/inside"
}

@test "each call is one run: from four threads at once, and a thousand in a row" {
	same threads
	same often 1000
}

@test "a run without end is taken away, and what it held is free again" {
	inside "$DIR/test_run" loops 8000000 >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	[ "$(tail -n +2 "$DIR/inside" | paste -sd'|')" = "EINTR 77|signals as before|then on 0 in a child, and ok" ]
	grep -q "PROG_TEST_RUN: refused: the program has not ended after 10 s" "$DIR/err"
}

@test "whoever runs it for the tool is killed in the middle: the tool goes on with its signals as they were" {
	looping 200
	kill -9 "$helper"
	wait $daemon
	cat "$DIR/inside" "$DIR/err"
	[ "$(tail -n +2 "$DIR/inside" | paste -sd'|')" = "EAGAIN 77|signals as before|then on 0 in a child, and ok" ]
}

@test "the tool is killed in the middle of a run: nothing is left" {
	looping 8000000
	kill -9 "$tool"
	wait $daemon || true
	nothing_left $daemon
}

@test "the daemon is killed in the middle of a run: it comes to its end" {
	looping 200
	kill -9 "$(pgrep -P $daemon -f -- '--run')"
	done_() { grep -q '^signals as before$' "$DIR/inside"; }
	wait_for 20 done_
	cat "$DIR/inside" "$DIR/err"
	grep -q '^ok 3$' "$DIR/inside"
}

@test "bpftrace: BEGIN and END without the kernel, with maps that probes share" {
	cat >"$DIR/script" <<EOF
BEGIN { @calls = 100; @who[comm, pid > 0, uid] = count(); @h = hist(7); printf("begin %d\\n", nsecs > 0); @s = ustack(1); }
uprobe:$DIR/sample:work { @calls++; @args = sum(arg0); }
END { printf("end %d\\n", @calls > 100); clear(@calls); clear(@s); }
EOF
	real bpftrace -c "$DIR/sample -n 100" "$DIR/script" 2>/dev/null | grep -v '^Attaching' >"$DIR/real"
	inside bpftrace -c "$DIR/sample -n 100" "$DIR/script" 2>"$DIR/err" | grep -v '^Attaching' >"$DIR/inside"
	diff "$DIR/real" "$DIR/inside"
	grep -q '^begin 1$' "$DIR/inside"
	grep -q '^end 1$' "$DIR/inside"
	grep -q '^@args: ' "$DIR/inside"
}

@test "bpftrace, where processes come first: BEGIN shares a map with a tracepoint, which is the kernel's" {
	echo '{"prefer": "user"}' >"$DIR/inside.json"
	cat >"$DIR/script" <<EOF
BEGIN { @n["begin"] = count(); }
tracepoint:syscalls:sys_enter_getppid { @n["probe"] = count(); }
END { @n["end"] = count(); }
EOF
	inside bpftrace -c "/bin/sh -c 'exec /usr/bin/env python3 -c \"import os; os.getppid()\"'" "$DIR/script" \
		>"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	grep -q '^@n\[begin\]: 1$' "$DIR/inside"
	grep -q '^@n\[end\]: 1$' "$DIR/inside"
	grep -qE '^@n\[probe\]: [1-9]' "$DIR/inside"
}

@test "where programs are only verified: packets of every kind get the kernel's answers" {
	real "$DIR/test_run" packets >"$DIR/real"
	timeout -k 5 150 "$BPFSHIMD" --run --unprivileged --verify-only -- "$DIR/test_run" packets >"$DIR/inside" 2>"$DIR/err"
	diff "$DIR/real" "$DIR/inside"
	[ "$(grep -c ': ok, ' "$DIR/inside")" -gt 1000 ]
	real "$DIR/test_run" who >"$DIR/real"
	timeout -k 5 150 "$BPFSHIMD" --run --unprivileged --verify-only -- "$DIR/test_run" who >"$DIR/inside"
	diff "$DIR/real" "$DIR/inside"
}

@test "where programs are only verified: functions that end where the packet does" {
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/functions" <<'PY'
import bpf, ctypes, struct
def run(fd, size):
    data = ctypes.create_string_buffer(bytes(range(100, 164)), 64)
    attr = ctypes.create_string_buffer(struct.pack("4IQ", fd, 0, size, 0, ctypes.addressof(data)).ljust(80, b"\0"), 80)
    result = bpf.bpf(bpf.PROG_TEST_RUN, attr)
    return hex(struct.unpack_from("I", attr, 4)[0]) if result == 0 else result
btf = bpf.btf_load(bpf.FUNCS)
# r7 = 7; r0 = f(ctx); r0 += r7, where f has a byte at 20, and 1000 more when there is one
byte = bpf.insn(0xbf, 6, 1) + bpf.insn(0x30, imm=20) + bpf.insn(0x07, 0, imm=1000) + bpf.EXIT
fd = bpf.prog_load(bpf.SOCKET_FILTER, bpf.insn(0xb7, 7, imm=7) + bpf.insn(0x85, 0, 1, imm=2) + bpf.insn(0x0f, 0, 7) + bpf.EXIT + byte,
                   btf=btf, funcs=[(0, 4), (4, 3)])
print(bpf.said(fd), [run(fd, size) for size in (14, 33, 34, 35, 64)])
PY
	real python3 "$DIR/functions" >"$DIR/real"
	cat "$DIR/real"
	timeout -k 5 150 "$BPFSHIMD" --run --unprivileged --verify-only -- python3 "$DIR/functions" >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	diff "$DIR/real" "$DIR/inside"
	[ "$(grep -c ok "$DIR/real")" -eq 1 ]
}

@test "what the tool had is gone with it, while its tree lives on" {
	inside sh -c "$DIR/test_run who >/dev/null; touch $DIR/ran; sleep 8" 2>"$DIR/err" &
	daemon=$!
	started $daemon
	chmod 777 "$DIR"
	wait_for 10 test -e "$DIR/ran"
	wait_for 5 same_objects || { new_objects; false; }
	kill -0 $daemon
}

@test "a tool that is traced by somebody else: refused, with the reason, and it goes on" {
	inside strace -f -o /dev/null -e trace=none "$DIR/test_run" often 3 >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	grep -qx 'runs 0, failed 3' "$DIR/inside"
	grep -q 'PROG_TEST_RUN: refused: .* which cannot be stopped: another process traces it$' "$DIR/err"
}
