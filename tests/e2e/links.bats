#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What is told of attachments, and that a program attached twice is attached once.

load common

setup()
{
	common_setup
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/ask.py" <<'PY'
import bpf, ctypes, struct
def uprobe(path, symbol="work", pid=-1):
    """An event."""
    name = ctypes.create_string_buffer(path.encode())
    kind = int(open("/sys/bus/event_source/devices/uprobe/type").read())
    attr = bytearray(bpf.perf_attr(kind=kind, period=1))
    struct.pack_into("2Q", attr, 56, ctypes.addressof(name), bpf.elf_offset(path, symbol))
    return bpf.perf_event_open(bytes(attr), pid)
def link_info(fd, name_at):
    """The words of its info with numbers that last, and its name. name_at: where its address stands"""
    name = ctypes.create_string_buffer(256)
    room = ctypes.create_string_buffer(128)
    if name_at:
        struct.pack_into("QI", room, name_at, ctypes.addressof(name), len(name))
    result = bpf.bpf(bpf.OBJ_INFO, struct.pack("2IQ", fd, len(room), ctypes.addressof(room)))
    words = list(struct.unpack("32I", room.raw))
    if name_at:
        words[name_at // 4] = words[name_at // 4 + 1] = 0
    return result, words, name.value.decode()
PY
}

teardown() { common_teardown; }

# pinned_links POLICY: a link opened from its pin is told of as before, in the kernel's own words but for ids
pinned_links()
{
	echo "$1" >"$DIR/policy"
	cat >"$DIR/pins" <<'PY'
import bpf, ask, os, sys, time
path, pins = sys.argv[1:3]
event, clock = ask.uprobe(path), bpf.perf_event_open(bpf.perf_attr())
links = dict(raw=(bpf.raw_tracepoint(bpf.prog_load(bpf.RAW_TRACEPOINT)), 16),
             probe=(bpf.link_create(bpf.prog_load(bpf.KPROBE), event), 24),
             clock=(bpf.link_create(bpf.prog_load(bpf.PERF_EVENT), clock), 0))
os.close(event)
os.close(clock)
before = {}
for name, (fd, name_at) in links.items():
    before[name] = ask.link_info(fd, name_at)
    assert bpf.obj(bpf.OBJ_PIN, f"{pins}/{name}", fd) == 0
    os.close(fd)
print(before["raw"][2], before["probe"][2], before["probe"][1][4], flush=True)
def wait():
    sys.stdin.readline()
wait()
fds = [bpf.obj(bpf.OBJ_GET, f"{pins}/{name}") for name in links]
for fd, (name, (_, name_at)) in zip(fds, links.items()):
    after = ask.link_info(fd, name_at)
    print(name, "same" if after == before[name] else f"{before[name]} {after}", flush=True)
wait()
PY
	mkfifo "$DIR/gate"
	exec 7<>"$DIR/gate"
	"$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/pins" "$DIR/sample" /sys/fs/bpf <&7 >"$DIR/log" 3>&- 7>&- &
	local daemon=$! ps
	started $daemon
	wait_for 10 grep -q "$DIR/sample" "$DIR/log"
	links() { "$BPFSHIMCTL" ps --json | python3 -c '
import json, sys
for daemon in json.load(sys.stdin):
    for tenant in daemon["tenants"] if daemon["pid"] == int(sys.argv[1]) else []:
        for link in tenant["links"]:
            print(link["object"], link["id"], link["kind"], link["target"].split("/")[-1], link["offset"] != 0, link["prog_id"])' $daemon; }
	wait_for 5 eval '[ "$(links | grep -c ^link)" -eq 3 ]'
	wait_for 5 eval '[ "$(links | grep -c ^event)" -eq 0 ]'
	links | tee "$DIR/pinned"
	grep -qx 'link 1 raw_tracepoint sched_switch False 1' "$DIR/pinned"
	grep -qx 'link 2 uprobe sample True 2' "$DIR/pinned"
	echo >&7
	wait_for 10 grep -q clock "$DIR/log"
	cat "$DIR/log"
	[ "$(grep -c ' same$' "$DIR/log")" -eq 3 ]
	links | diff "$DIR/pinned" -
	echo >&7
	exec 7>&-
	wait $daemon
	# The kernel's own words, but for ids.
	mkdir "$DIR/fs"
	timeout 30 unshare -m sh -c 'mount -t bpf bpf "$1/fs" && printf "\n\n" | python3 "$1/pins" "$1/sample" "$1/fs"' sh "$DIR" >"$DIR/real"
	diff "$DIR/real" "$DIR/log"
}

@test "a link opened from its pin is told of as before" {
	pinned_links "{}"
}

@test "the same where processes come first: the link moves into the kernel" {
	pinned_links '{"prefer": "user"}'
}

@test "a second program on an event is refused, and counted as nowhere" {
	cat >"$DIR/twice" <<'PY'
import bpf, ask, os, sys
map = bpf.map_create()
lookup = bpf.insn(0x7a, 10, off=-8) + bpf.insn(0xbf, 2, 10) + bpf.insn(7, 2, imm=-8) + bpf.load_map(map) + bpf.call(1)
# get_current_task() is the kernel's alone.
kernel = bpf.prog_load(bpf.KPROBE, lookup + bpf.call(35) + bpf.NOTHING)
either = bpf.prog_load(bpf.KPROBE, lookup + bpf.NOTHING)
def show(what, result):
    print(what, bpf.said(result), flush=True)
for _ in range(3):
    event = ask.uprobe(sys.argv[1])
    show("first", bpf.ioctl(event, bpf.IOC_SET_BPF, kernel))
    show("again", bpf.ioctl(event, bpf.IOC_SET_BPF, kernel))
    show("another", bpf.ioctl(event, bpf.IOC_SET_BPF, either))
    show("link", bpf.link_create(either, event))
    show("of a wrong type", bpf.ioctl(event, bpf.IOC_SET_BPF, bpf.prog_load(bpf.PERF_EVENT)))
    os.close(event)
event = ask.uprobe(sys.argv[1])
for _ in range(3):
    link = bpf.link_create(either, event)
    show("link first", link)
    show("link again", bpf.link_create(either, event))
    show("and set", bpf.ioctl(event, bpf.IOC_SET_BPF, either))
    os.close(link)
os.close(event)
event = ask.uprobe(sys.argv[1])
show("a wrong type", bpf.ioctl(event, bpf.IOC_SET_BPF, bpf.prog_load(bpf.PERF_EVENT)))
# Events go a moment after their last descriptor.
import time
time.sleep(1)
show("last", bpf.ioctl(event, bpf.IOC_SET_BPF, either))
sys.stdin.readline()
PY
	echo '{"prefer": "user"}' >"$DIR/policy"
	real python3 "$DIR/twice" "$DIR/sample" </dev/null >"$DIR/real"
	mkfifo "$DIR/gate"
	exec 7<>"$DIR/gate"
	"$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/twice" "$DIR/sample" <&7 >"$DIR/ours" 3>&- 7>&- &
	local daemon=$!
	started $daemon
	wait_for 20 grep -q '^last' "$DIR/ours"
	"$BPFSHIMCTL" ps --json | python3 -c '
import json, sys
links = [link for daemon in json.load(sys.stdin) if daemon["pid"] == int(sys.argv[1]) for link in daemon["tenants"][0]["links"]]
print([(link["placement"], link["reason"]) for link in links])' $daemon >"$DIR/ps"
	echo >&7
	exec 7>&-
	wait $daemon
	cat "$DIR/ours" "$DIR/ps"
	diff "$DIR/real" "$DIR/ours"
	[ "$(grep -c '^again EEXIST' "$DIR/real")" -eq 3 ]
	# Were its map still counted as the kernel's, the last one had to go there.
	grep -q "'USER', 'verified'" "$DIR/ps"
}

@test "numbers in answers are the tenant's" {
	cat >"$DIR/numbers" <<'PY'
import bpf, ctypes, os, struct, sys
path = ctypes.create_string_buffer(sys.argv[1].encode())
programs = bpf.map_create(bpf.PROG_ARRAY, value=4)
prog = bpf.prog_load(bpf.KPROBE)
key, value = ctypes.c_uint32(0), ctypes.c_uint32(prog)
elem = struct.pack("I4x3Q", programs, ctypes.addressof(key), ctypes.addressof(value), 0)
assert bpf.bpf(bpf.MAP_UPDATE, elem) == 0
assert bpf.bpf(bpf.MAP_LOOKUP, elem) == 0
print("program", value.value == struct.unpack_from("2I", bpf.info(prog))[1])
offsets = (ctypes.c_uint64 * 1)(bpf.elf_offset(sys.argv[1], "work"))
prog = bpf.prog_load(bpf.KPROBE, attach_type=bpf.UPROBE_MULTI)
for pid in 0, os.getpid():
    link = bpf.bpf(bpf.LINK_CREATE, struct.pack("4I4Q4I", prog, 0, bpf.UPROBE_MULTI, 0, ctypes.addressof(path),
                                                ctypes.addressof(offsets), 0, 0, 1, 0, pid, 0))
    info = bpf.info(link)
    print("pid", struct.unpack_from("I", info, 60)[0] == pid)
PY
	real python3 "$DIR/numbers" "$DIR/sample" >"$DIR/real"
	ours python3 "$DIR/numbers" "$DIR/sample" >"$DIR/ours"
	cat "$DIR/ours"
	[ "$(tr '\n' ' ' <"$DIR/real")" = 'program True pid True pid True ' ]
	diff "$DIR/real" "$DIR/ours"
	echo '{"prefer": "user"}' >"$DIR/policy"
	"$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/numbers" "$DIR/sample" >"$DIR/ours"
	diff "$DIR/real" "$DIR/ours"
}

@test "paths of pins of links: bare names, long ones, slashes, what is there already" {
	cat >"$DIR/paths" <<'PY'
import bpf, os, sys
pins = sys.argv[1]
link = bpf.raw_tracepoint(bpf.prog_load(bpf.RAW_TRACEPOINT))
os.chdir(pins)
os.mkdir("dir")
for path in ["bare", "bare", "dir/below", f"{pins}/{'./' * 900}long", "slash/", "dir/", "dir", ".", "dir/..", "none/below",
             "dir/below/file", "", "n" * 256, "./" * 2039 + "edge_of_the_path", "/" + "./" * 2050]:
    result = bpf.obj(bpf.OBJ_PIN, path, link)
    again = bpf.obj(bpf.OBJ_GET, path)
    print(path[:12], len(path), result, "opened" if isinstance(again, int) else again)
PY
	timeout 30 unshare -m sh -c 'mount -t bpf bpf /sys/fs/bpf && python3 "$1/paths" /sys/fs/bpf' sh "$DIR" >"$DIR/real"
	timeout 30 "$BPFSHIMD" --run --unprivileged -- python3 "$DIR/paths" /sys/fs/bpf >"$DIR/ours" 2>"$DIR/err"
	cat "$DIR/real" "$DIR/err"
	[ "$(grep -c ' opened$' "$DIR/real")" -ge 5 ]
	diff "$DIR/real" "$DIR/ours"
}

@test "one instruction with two semaphores, or with and without one, is EINVAL as to real root" {
	cat >"$DIR/semaphores" <<'PY'
import bpf, sys
path = sys.argv[1]
work, outer, counter = (bpf.elf_offset(path, name) for name in ("work", "outer", "sample_guarded_semaphore"))
prog = bpf.prog_load(bpf.KPROBE, attach_type=bpf.UPROBE_MULTI)
assert isinstance(prog, int), prog
def attach(offset, counter):
    print(bpf.said(bpf.uprobe_multi(prog, path, [offset], [counter] if counter else None)), flush=True)
attach(work, counter)
attach(work, counter)
attach(work, 0)
attach(outer, 0)
attach(outer, counter)
PY
	real python3 -B "$DIR/semaphores" "$DIR/sample" >"$DIR/real"
	ours python3 -B "$DIR/semaphores" "$DIR/sample" >"$DIR/ours"
	diff "$DIR/real" "$DIR/ours"
	for policy in '{"kernel": "deny"}' '{"prefer": "user"}'; do
		echo "$policy" >"$DIR/inside.json"
		inside python3 -B "$DIR/semaphores" "$DIR/sample" >"$DIR/inside" 2>"$DIR/err"
		cat "$DIR/err"
		diff "$DIR/real" "$DIR/inside"
	done
	[ "$(grep -c EINVAL "$DIR/real")" -eq 2 ]
}

@test "a new array for another file's programs: entries put into a program array later are seen by all" {
	cat >"$DIR/seen" <<'PY'
import bpf, ask, ctypes, os, struct, sys, time
static, dynamic = sys.argv[1:3]
target = os.posix_spawn(static, [static, "-n", "2000000000"], os.environ)
time.sleep(0.3)
key = ctypes.c_uint32(0)
def update(map, value, kind=ctypes.c_uint32):
    value = kind(value)
    assert bpf.bpf(bpf.MAP_UPDATE, struct.pack("I4x3Q", map, ctypes.addressof(key), ctypes.addressof(value), 0)) == 0
def value_of(map):
    value = ctypes.c_uint64()
    assert bpf.bpf(bpf.MAP_LOOKUP, struct.pack("I4x3Q", map, ctypes.addressof(key), ctypes.addressof(value), 0)) == 0
    return value.value
def counts(map):
    # The first element, one more.
    return (bpf.insn(0x62, 10, off=-4) + bpf.load_map(map) + bpf.insn(0xbf, 2, 10) + bpf.insn(7, 2, imm=-4) + bpf.call(1) +
            bpf.insn(0x15, 0, off=2) + bpf.insn(0xb7, 1, imm=1) + bpf.insn(0xdb, 0, 1) + bpf.NOTHING)
programs = bpf.map_create(bpf.PROG_ARRAY, value=4)
hash = bpf.map_create(bpf.HASH)
update(hash, 0, ctypes.c_uint64)
goes_on = bpf.prog_load(bpf.KPROBE, bpf.load_map(programs, 2) + bpf.insn(0xb7, 3) + bpf.call(12) + bpf.NOTHING)
first = bpf.link_create(goes_on, ask.uprobe(static))
other = bpf.link_create(bpf.prog_load(bpf.KPROBE, counts(bpf.map_create(bpf.ARRAY))), ask.uprobe(dynamic))
assert isinstance(first, int) and isinstance(other, int), (first, other)
update(programs, bpf.prog_load(bpf.KPROBE, counts(hash)))
time.sleep(0.3)
print("seen", value_of(hash) > 0)
os.kill(target, 9)
os.waitpid(target, 0)
PY
	echo '{"kernel": "deny"}' >"$DIR/policy"
	"$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/seen" "$DIR/sample-static" "$DIR/sample" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qx 'seen True' "$DIR/out"
}
