#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Loops of loops would keep the target's thread for years: after a second they make no more turns.

load common

setup()
{
	common_setup
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/probe" <<'PY'
import bpf, ctypes, struct, subprocess, sys, time
path, kind, calls = sys.argv[1:]
CALL = lambda to: bpf.insn(0x85, 0, 1, imm=to)  # a function of the program
FUNC = lambda dst, to: bpf.insn(0x18, dst, 4, imm=to) + bpf.insn(0)
MAY_GOTO = lambda off: bpf.insn(0xe5, off=off)
values = bpf.map_create(bpf.ARRAY, 4, 8, 1)
def loop(to, turns=1 << 23):  # 6 instructions: bpf_loop(turns, to, NULL, 0)
    return bpf.insn(0xb7, 1, imm=turns) + FUNC(2, to - 2) + bpf.insn(0xb7, 3) + bpf.insn(0xb7, 4) + bpf.call(181)
# 5 instructions: one more
count = bpf.insn(0x18, 1, 2, imm=values) + bpf.insn(0) + bpf.insn(0xb7, 2, imm=1) + bpf.insn(0xdb, 1, 2)
END = bpf.returns(0) + bpf.EXIT
if kind == "once":
    code, funcs = loop(8) + END + count + END, [8]
elif kind == "nested":
    # Three deep; the innermost counts.
    code, funcs = 3 * (loop(8) + END) + count + END, [8, 16, 24]
else:
    # A callback, called as often as may be, that calls a function that goes on for as long as may be.
    forever = MAY_GOTO(1) + bpf.insn(0x05, off=-2) + END
    code, funcs = loop(8) + END + CALL(1) + bpf.EXIT + forever, [8, 10]
log = ctypes.create_string_buffer(65536)
prog = bpf.prog_load(bpf.KPROBE, code, log, btf=bpf.btf_load(bpf.FUNCS), funcs=[(0, 4)] + [(at, 3) for at in funcs])
print("load", bpf.said(prog), log.value.decode() if isinstance(prog, str) else "")
name = ctypes.create_string_buffer(path.encode())
attr = bytearray(bpf.perf_attr(kind=int(open("/sys/bus/event_source/devices/uprobe/type").read()), config=0, period=1))
struct.pack_into("2Q", attr, 56, ctypes.addressof(name), bpf.elf_offset(path, "work"))
fd = bpf.perf_event_open(bytes(attr))
print("attach", bpf.said(bpf.ioctl(fd, bpf.IOC_SET_BPF, prog)), flush=True)
start = time.monotonic()
print("target", subprocess.run([path, "-n", calls], stdout=subprocess.DEVNULL).returncode)
print("seconds", int(time.monotonic() - start))
value = ctypes.create_string_buffer(8)
key = ctypes.create_string_buffer(4)
bpf.bpf(bpf.MAP_LOOKUP, struct.pack("I4x3Q", values, ctypes.addressof(key), ctypes.addressof(value), 0))
print("counted", struct.unpack("Q", value.raw)[0], flush=True)
input()
PY
}
teardown() { common_teardown; }

# probed KIND CALLS: what the script says is in $DIR/out; bpfshimctl's links in $DIR/ps
probed()
{
	mkfifo "$DIR/go"
	: >"$DIR/out"
	inside python3 "$DIR/probe" "$DIR/sample" "$1" "$2" <"$DIR/go" >"$DIR/out" 2>"$DIR/err" &
	started $!
	exec 8>"$DIR/go"
	wait_for 60 grep -q '^counted' "$DIR/out" || true
	cat "$DIR/out" "$DIR/err"
	"$BPFSHIMCTL" ps --json >"$DIR/ps"
	echo >&8
	exec 8>&-
	wait $! || true
	rm "$DIR/go"
}

# missed N: as ps said
missed()
{
	python3 - "$DIR/ps" "$1" "$DIR/sample" <<'PY'
import json, sys
text = open(sys.argv[1]).read()
found = [link["missed"] for daemon in json.loads(text) for tenant in daemon["tenants"] for link in tenant["links"] if link.get("target") == sys.argv[3]]
assert found == [int(sys.argv[2])], (found, text)
PY
}

@test "loops: as many turns as a helper makes, each of them" {
	probed once 3
	grep -qx 'target 0' "$DIR/out"
	grep -qx 'counted 25165824' "$DIR/out"
	missed 0
}

@test "loops of loops: a hit takes a second, and is said to be missed" {
	local kind seconds
	for kind in nested may_goto; do
		probed $kind 3
		grep -qx 'attach ok' "$DIR/out"
		grep -qx 'target 0' "$DIR/out"
		seconds=$(sed -n 's/^seconds //p' "$DIR/out")
		[ "$seconds" -ge 3 ]
		[ "$seconds" -le 20 ]
		missed 3
	done
	grep -q '^counted ' "$DIR/out"
}
