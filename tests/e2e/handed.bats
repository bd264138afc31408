#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Descriptors and pins of others that reach the tenant after all: a descriptor is what it stands for, whatever
# number it has and whoever handed it over.

load common

setup()
{
	common_setup
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	chmod 777 "$DIR"
}

teardown() { common_teardown; }

@test "objects of the host's in the tenant's hands are built into nothing" {
	cat >"$DIR/host" <<'PY'
import bpf, os, socket, sys
fds = [bpf.map_create(name=b"hosts"), bpf.btf_load(), bpf.prog_load(bpf.RAW_TRACEPOINT), bpf.prog_load(bpf.PERF_EVENT)]
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
server.listen()
while True:
    client = server.accept()[0]
    socket.send_fds(client, [b"x"], fds)
    client.recv(1)
PY
	cat >"$DIR/guest" <<'PY'
import bpf, socket, struct, sys
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
map, btf, raw, clock = socket.recv_fds(server, 1, 4)[1]
def show(what, result):
    print(what, bpf.said(result))
event = bpf.perf_event_open(bpf.perf_attr())
show("a program with the map", bpf.prog_load(code=bpf.load_map(map) + bpf.NOTHING))
show("a program with the map by position", bpf.prog_load(code=bpf.insn(0x18, 1, 5) + bpf.insn(0) + bpf.NOTHING, fds=[map]))
show("a program with the BTF", bpf.prog_load(btf=btf))
show("a map with the map in it", bpf.map_create(bpf.ARRAY_OF_MAPS, value=4, inner=map))
show("a map with the BTF", bpf.map_create(bpf.ARRAY, value=4, btf=btf, btf_types=1))
show("a raw tracepoint", bpf.raw_tracepoint(raw))
show("a link", bpf.link_create(clock, event))
show("a program on an event", bpf.ioctl(event, bpf.IOC_SET_BPF, clock))
# What is the tenant's own still is.
mine = bpf.map_create()
show("own", bpf.prog_load(code=bpf.load_map(mine) + bpf.NOTHING))
# A number that means nothing here.
for fd in map, raw, btf:
    info = bpf.info(fd)
    number = struct.unpack_from("I", info, 12 if fd == btf else 4)[0] if isinstance(info, bytes) else 0
    print("number", "none" if number == 0 else "some")
# What is of the wrong kind is as wrong as for the kernel.
show("a map for a program", bpf.raw_tracepoint(mine))
show("a program for a map", bpf.map_create(bpf.ARRAY_OF_MAPS, value=4, inner=bpf.prog_load()))
PY
	python3 "$DIR/host" "$DIR/socket" 3>&- &
	started $!
	wait_for 5 test -S "$DIR/socket"
	real python3 "$DIR/guest" "$DIR/socket" >"$DIR/real"
	ours python3 "$DIR/guest" "$DIR/socket" >"$DIR/ours" 2>"$DIR/err"
	cat "$DIR/ours"
	[ "$(head -9 "$DIR/real" | grep -c 'ok$')" -eq 8 ]
	grep -qx 'a program on an event EEXIST' "$DIR/real"
	[ "$(head -8 "$DIR/ours" | grep -c 'EPERM$')" -eq 8 ]
	[ "$(grep -c 'stands for an object of somebody else' "$DIR/err")" -eq 8 ]
	grep -qx 'own ok' "$DIR/ours"
	[ "$(grep -c 'number some' "$DIR/real")" -eq 3 ]
	[ "$(grep -c 'number none' "$DIR/ours")" -eq 3 ]
	diff <(tail -2 "$DIR/real") <(tail -2 "$DIR/ours")
}

# with_pins COMMAND...: in a private mount namespace with a bpffs of the host's at $DIR/fs
with_pins()
{
	timeout -k 5 60 unshare -m sh -c '
		dir=$1
		shift
		mount -t bpf bpf "$dir/fs" && chmod 755 "$dir/fs" && bpftool map create "$dir/fs/map" type hash key 4 value 8 entries 16 name hosts_pin || exit 99
		"$@"
		status=$?
		cd "$dir/fs" && ls -d map of_* 2>/dev/null
		exit $status' sh "$DIR" "$@" 3>&-
}

@test "pins of the host's are neither opened nor made" {
	mkdir "$DIR/fs"
	cat >"$DIR/pins" <<'PY'
import bpf, sys
path = sys.argv[1]
print("get", bpf.said(bpf.obj(bpf.OBJ_GET, path + "/map")))
print("pin of a map", bpf.said(bpf.obj(bpf.OBJ_PIN, path + "/of_map", bpf.map_create())))
link = bpf.raw_tracepoint(bpf.prog_load(bpf.RAW_TRACEPOINT))
print("pin of a link", bpf.said(bpf.obj(bpf.OBJ_PIN, path + "/of_link", link)))
PY
	with_pins python3 "$DIR/pins" "$DIR/fs" >"$DIR/real"
	with_pins "$BPFSHIMD" --run --unprivileged -- python3 "$DIR/pins" "$DIR/fs" >"$DIR/ours"
	[ "$(tr '\n' ' ' <"$DIR/real")" = 'get ok pin of a map ok pin of a link ok map of_link of_map ' ]
	[ "$(tr '\n' ' ' <"$DIR/ours")" = 'get EACCES pin of a map EACCES pin of a link EACCES map ' ]
}

@test "a pin is where the caller's mounts say, not the daemon's" {
	mkdir "$DIR/own"
	cat >"$DIR/pins" <<'PY'
import bpf, os, sys
for path in sys.argv[1:]:
    link = bpf.raw_tracepoint(bpf.prog_load(bpf.RAW_TRACEPOINT))
    print("pin", bpf.said(bpf.obj(bpf.OBJ_PIN, path, link)), os.path.exists(path))
    print("get", bpf.said(bpf.obj(bpf.OBJ_GET, path)))
PY
	chmod 755 "$DIR/own"
	# Where the daemon has nothing mounted, by its path and by a relative one; and an ordinary file system.
	ours sh -c "mount --bind /sys/fs/bpf $DIR/own && cd $DIR/own && python3 $DIR/pins $DIR/own/link ./relative $DIR/file" >"$DIR/out"
	cat "$DIR/out"
	[ "$(tr '\n' ' ' <"$DIR/out")" = 'pin ok True get ok pin ok True get ok pin EPERM False get ENOENT ' ]
	[ -z "$(ls "$DIR/own")" ]
	wait_for 2 same_objects
}
