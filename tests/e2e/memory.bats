#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a tenant's calls make the daemon hold.

load common

setup()
{
	common_setup
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
}

teardown() { common_teardown; }

@test "many large calls at once are refused before the daemon is large" {
	cat >"$DIR/large" <<'PY'
import bpf, ctypes, mmap, os, struct, sys, threading
SIZE = 60 << 20
# Pages that were never written cost the tenant nothing.
room = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
room = (ctypes.c_char * SIZE).from_buffer(room)
code = ctypes.create_string_buffer(bpf.NOTHING, len(bpf.NOTHING))
gpl = ctypes.create_string_buffer(b"GPL")
def load(count=0, log=0):
    return bpf.bpf(bpf.PROG_LOAD, struct.pack("2I2Q2IQ2I16s4IQ2IQI", bpf.KPROBE, 2, ctypes.addressof(code), ctypes.addressof(gpl),
        1 if log else 0, log, ctypes.addressof(room) if log else 0, 0, 0, b"", 0, 0, 0, 8 if count else 0,
        ctypes.addressof(room) if count else 0, count, 16 if count else 0,
        ctypes.addressof(room) if count else 0, count))
said = set()
def many():
    for _ in range(4):
        said.add(bpf.said(load(count=SIZE // 16)))
threads = [threading.Thread(target=many) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*sorted(said))
# One alone is the kernel's to judge, and after all that there is room as before.
print(bpf.said(load(count=SIZE // 16)), bpf.said(load(log=16 << 20)), bpf.said(load(log=SIZE)))
open(os.environ["DIR"] + "/done", "w").close()
sys.stdin.readline()
PY
	chmod 777 "$DIR"
	mkfifo "$DIR/gate"
	exec 7<>"$DIR/gate"
	DIR=$DIR "$BPFSHIMD" --run --unprivileged -- python3 "$DIR/large" <&7 >"$DIR/out" 2>"$DIR/err" 3>&- 7>&- &
	local daemon=$! peak
	started $daemon
	wait_for 60 test -e "$DIR/done"
	peak=$(awk '/VmHWM/ { print $2 }' "/proc/$daemon/status")
	echo >&7
	exec 7>&-
	wait $daemon
	cat "$DIR/out"
	echo "peak $peak kB"
	[ "$peak" -lt 400000 ]
	[ "$(head -1 "$DIR/out")" = 'EINVAL ENOMEM' ]
	[ "$(tail -1 "$DIR/out")" = 'EINVAL ok ok' ]
	grep -q 'refused: calls of the tenant hold' "$DIR/err"
}
