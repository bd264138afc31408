#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# How long things live: objects end with their holders, and a daemon is after a tool what it was before.

load common

setup() { common_setup; }
teardown() { common_teardown; }

fds_of()
{
	ls "/proc/$1/fd" | wc -l
}

fds_are()
{
	[ "$(fds_of "$1")" -eq "$2" ]
}

# says N: the tree's log has N lines
says()
{
	[ "$(wc -l <"$DIR/log")" -ge "$1" ]
}

@test "kill -9 of the command: status 137, objects gone within a second, nothing left" {
	cat >"$DIR/tree" <<EOF
bpftrace -e 'BEGIN { printf("up\n"); } uprobe:$DIR/sample:work { @killed = count(); }' >$DIR/bt 2>&1 &
while ! grep -q up $DIR/bt; do sleep 0.05; done
while :; do sleep 0.05; done
EOF
	touch "$DIR/bt"
	chmod 666 "$DIR/bt"
	"$BPFSHIMD" --run --unprivileged -- sh "$DIR/tree" 3>&- &
	local daemon=$! got=0 command
	started $daemon
	wait_for 10 grep -q up "$DIR/bt"
	command=$(pgrep -f "^sh $DIR/tree")
	refute same_objects
	kill -9 "$command"
	wait_for 1 same_objects
	wait $daemon || got=$?
	[ $got -eq 137 ]
	nothing_left $daemon
}

@test "kill -9 of a tool while its target runs: the target's output is what it would have been" {
	cat >"$DIR/tree" <<EOF
while [ ! -e $DIR/over ]; do $DIR/sample -n 3000 -t 2 >>$DIR/sums || echo status \$? >>$DIR/sums; done &
targets=\$!
for try in 1 2 3; do
	bpftrace -e 'uprobe:$DIR/sample:work { @ = count(); } uretprobe:$DIR/sample:outer { @r = count(); }
		interval:ms:50 { print(@r); }' >$DIR/bt 2>&1 &
	tool=\$!
	while ! grep -q '^@r: [1-9]' $DIR/bt; do sleep 0.02; done
	kill -9 \$tool
	wait \$tool
	echo killed \$?
	: >$DIR/bt
done
touch $DIR/over
wait \$targets
EOF
	touch "$DIR/bt" "$DIR/sums"
	chmod 666 "$DIR/bt" "$DIR/sums"
	chmod 777 "$DIR"
	ours sh "$DIR/tree" >"$DIR/out" 2>&1
	[ "$(grep -c '^killed 137' "$DIR/out")" -eq 3 ]
	[ "$(wc -l <"$DIR/sums")" -gt 3 ]
	[ "$(sort -u "$DIR/sums")" = "$("$DIR/sample" -n 3000 -t 2)" ]
}

@test "after tools have come and gone a daemon holds what it held before" {
	cat >"$DIR/tree" <<EOF
trace()
{
	bpftrace -e 'uprobe:$DIR/sample:work { @[ustack, comm] = count(); }
		usdt:$DIR/sample:sample:guarded { @g = count(); } interval:s:9 { exit(); }' -c "$DIR/sample -n 20" >$DIR/bt 2>&1
	bpftool map create /sys/fs/bpf/kept type array key 4 value 8 entries 4 name kept && rm /sys/fs/bpf/kept
}
trace
echo once >>$DIR/log
read -r line <$DIR/gate
for turn in 1 2 3 4 5 6; do trace; done
echo again >>$DIR/log
read -r line <$DIR/gate
grep -x '@g: 20' $DIR/bt
EOF
	mkfifo "$DIR/gate"
	touch "$DIR/bt" "$DIR/log"
	chmod 666 "$DIR/bt" "$DIR/log" "$DIR/gate"
	exec 7<>"$DIR/gate"
	"$BPFSHIMD" --run --unprivileged -- sh "$DIR/tree" >"$DIR/out" 3>&- 7>&- &
	local daemon=$! before
	started $daemon
	wait_for 20 says 1
	wait_for 3 same_objects
	sleep 0.5
	before=$(fds_of $daemon)
	echo >&7
	wait_for 60 says 2
	wait_for 3 same_objects
	wait_for 3 fds_are $daemon "$before"
	"$BPFSHIMCTL" ps --json | python3 -c '
import json, sys
tenant = [d for d in json.load(sys.stdin) if d["pid"] == int(sys.argv[1])][0]["tenants"][0]
assert not tenant["progs"] and not tenant["maps"] and not tenant["links"], tenant
' $daemon
	echo >&7
	exec 7>&-
	wait $daemon
	grep -qx '@g: 20' "$DIR/out"
	nothing_left $daemon
}

@test "an object lives as long as anyone holds it, and no longer" {
	# A map goes from a tool that ends to a child that does not, which then lets go.
	cat >"$DIR/hand_on" <<'EOF'
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
attr = struct.pack("IIII", 1, 4, 8, 16) + b"\0" * 12 + b"handed_on".ljust(16, b"\0")
fd = libc.syscall(321, 0, ctypes.create_string_buffer(attr, len(attr)), len(attr))
assert fd >= 0, ctypes.get_errno()
if os.fork():
    os._exit(0)
def say(text):
    with open(sys.argv[1], "a") as log:
        print(text, file=log)
say("held")
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
os.close(fd)
say("let go")
time.sleep(30)
EOF
	cat >"$DIR/tree" <<EOF
python3 $DIR/hand_on $DIR/log $DIR/drop
while [ ! -s $DIR/log ]; do sleep 0.02; done
bpftool map show >$DIR/shown1 2>&1
touch $DIR/listed
while ! grep -q go $DIR/log; do sleep 0.02; done
sleep 0.2
bpftool map show >$DIR/shown2 2>&1
EOF
	touch "$DIR"/{log,shown1,shown2}
	chmod 666 "$DIR"/{log,shown1,shown2}
	chmod 777 "$DIR"
	"$BPFSHIMD" --run --unprivileged -- sh "$DIR/tree" 3>&- &
	local daemon=$!
	started $daemon
	wait_for 10 test -e "$DIR/listed"
	bpftool map list >"$DIR/host"
	grep -q handed_on "$DIR/host"
	touch "$DIR/drop"
	wait $daemon
	grep -q handed_on "$DIR/shown1"
	refute grep -q handed_on "$DIR/shown2"
	nothing_left $daemon
}

@test "calls that fail at the last step leave nothing behind" {
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/fails" <<'PY'
import bpf, ctypes, os, resource, struct
libc = bpf.libc
libc.mmap.restype = ctypes.c_void_p
UNMAPPED = 4096
def read_only(data):
    page = libc.mmap(ctypes.c_void_p(), ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0))
    ctypes.memmove(page, data, len(data))
    assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(4096), 1) == 0
    return page
code, gpl = ctypes.create_string_buffer(bpf.NOTHING), ctypes.create_string_buffer(b"GPL")
btf = ctypes.create_string_buffer(bpf.BTF, len(bpf.BTF))
def load_attr(log):
    return struct.pack("2I2Q2IQ", bpf.SOCKET_FILTER, 2, ctypes.addressof(code), ctypes.addressof(gpl), bool(log),
                       4096 if log else 0, log).ljust(144, b"\0")
def btf_attr(log):
    return struct.pack("2Q6I", ctypes.addressof(btf), log, len(bpf.BTF), 4096 if log else 0, bool(log), 0, 0, 0)
load, load_btf = read_only(load_attr(0)), read_only(btf_attr(0))
raw, clock = bpf.prog_load(bpf.RAW_TRACEPOINT), bpf.prog_load(bpf.PERF_EVENT)
# One each: a link that nobody received lasts a moment longer.
events, link = [bpf.perf_event_open(bpf.perf_attr()) for _ in range(20)], bpf.raw_tracepoint(raw)
number = struct.unpack_from("2I", bpf.info(bpf.map_create()))[1]
pin = f"/sys/fs/bpf/{os.getpid()}"
assert bpf.obj(bpf.OBJ_PIN, pin, link) == 0
unwritable = dict(
    program_log=lambda: bpf.bpf(bpf.PROG_LOAD, load_attr(UNMAPPED)),
    program_log_size=lambda: bpf.syscall(321, bpf.PROG_LOAD, load, 144),
    btf_log=lambda: bpf.bpf(bpf.BTF_LOAD, btf_attr(UNMAPPED)),
    btf_log_size=lambda: bpf.syscall(321, bpf.BTF_LOAD, load_btf, 40),
)
no_room = dict(
    map=bpf.map_create, program=bpf.prog_load, clock_program=lambda: bpf.prog_load(bpf.PERF_EVENT), btf=bpf.btf_load,
    event=lambda: bpf.perf_event_open(bpf.perf_attr()),
    output=lambda: bpf.perf_event_open(bpf.perf_attr(config=bpf.BPF_OUTPUT, sample=bpf.SAMPLE_RAW)),
    raw_tracepoint=lambda: bpf.raw_tracepoint(raw), link=lambda: bpf.link_create(clock, events.pop()),
    map_by_id=lambda: bpf.bpf(bpf.MAP_BY_ID, struct.pack("3I", number, 0, 0)),
    pin=lambda: bpf.obj(bpf.OBJ_GET, pin),
)
def run(calls, error):
    for name, call in calls.items():
        for _ in range(20):
            result = call()
            assert result == error, (name, result)
run(unwritable, "EFAULT")
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
run(no_room, "EMFILE")
os.unlink(pin)
PY
	cat >"$DIR/tree" <<EOF
python3 $DIR/fails && echo first; read -r line <$DIR/gate
python3 $DIR/fails && echo second; read -r line <$DIR/gate
EOF
	mkfifo "$DIR/gate"
	chmod 666 "$DIR/gate"
	exec 7<>"$DIR/gate"
	"$BPFSHIMD" --run --unprivileged -- sh "$DIR/tree" >"$DIR/log" 3>&- 7>&- &
	local daemon=$! before
	started $daemon
	wait_for 20 grep -q first "$DIR/log"
	wait_for 3 same_objects
	sleep 0.5
	before=$(fds_of $daemon)
	echo >&7
	wait_for 20 grep -q second "$DIR/log"
	wait_for 3 same_objects
	wait_for 3 fds_are $daemon "$before"
	echo >&7
	exec 7>&-
	wait $daemon
	nothing_left $daemon
}

@test "a pin that was opened and closed again keeps nothing once it is gone" {
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/pins" <<'PY'
import bpf, os
path = "/sys/fs/bpf/link"
raw = bpf.prog_load(bpf.RAW_TRACEPOINT)
link = bpf.raw_tracepoint(raw)
assert bpf.obj(bpf.OBJ_PIN, path, link) == 0
# While others hold the link, and when only the pin does.
os.close(bpf.obj(bpf.OBJ_GET, path))
os.close(link)
for _ in range(3):
    os.close(bpf.obj(bpf.OBJ_GET, path))
os.close(raw)
print("pinned", flush=True)
PY
	cat >"$DIR/tree" <<EOF
python3 $DIR/pins; read -r line <$DIR/gate
rm /sys/fs/bpf/link; echo gone; read -r line <$DIR/gate
EOF
	mkfifo "$DIR/gate"
	chmod 666 "$DIR/gate"
	exec 7<>"$DIR/gate"
	"$BPFSHIMD" --run --unprivileged -- sh "$DIR/tree" >"$DIR/log" 3>&- 7>&- &
	local daemon=$!
	started $daemon
	wait_for 10 grep -q pinned "$DIR/log"
	sleep 0.5
	[ "$(new_objects | grep -c '^link')" -eq 1 ]
	echo >&7
	wait_for 10 grep -q gone "$DIR/log"
	wait_for 2 same_objects
	echo >&7
	exec 7>&-
	wait $daemon
	nothing_left $daemon
}
