#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a tenant may have of each thing, and that it may have it again when it let go.

load common

setup()
{
	common_setup
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/many" <<'PY'
import bpf, os, sys, time
kind = sys.argv[1]
def event():
    return bpf.perf_event_open(bpf.perf_attr())
prog = bpf.prog_load(bpf.RAW_TRACEPOINT) if kind == "links" else None
clock = bpf.prog_load(bpf.PERF_EVENT) if kind == "perf_links" else None
events = [event() for _ in range(4)] if kind == "perf_links" else []
def perf_link():
    link = bpf.link_create(clock, events[-1])
    if isinstance(link, int):
        events.pop()
    return link
make = dict(progs=bpf.prog_load, maps=bpf.map_create, links=lambda: bpf.raw_tracepoint(prog), events=event,
            perf_links=perf_link, btfs=bpf.btf_load,
            outputs=lambda: bpf.perf_event_open(bpf.perf_attr(config=10, period=1, sample=1 << 10)),
            map_bytes=lambda: bpf.map_create(bpf.ARRAY, entries=1, value=40000))[kind]
def show(fd):
    print("made" if isinstance(fd, int) else fd, flush=True)
    return fd
fds = [show(make()) for _ in range(3)]
os.close(fds[0])
# Attachments end a little after their last descriptor. Of the rest the daemon may be closing its own copy just now.
for _ in range(100 if "links" in kind or kind in ("events", "outputs") else 5):
    fd = make()
    if isinstance(fd, int):
        break
    time.sleep(0.02)
show(fd)
PY
}

teardown() { common_teardown; }

# two_of QUOTA LIMIT [KIND]: with the limit, two are made and not a third, until one is given back
two_of()
{
	echo "{\"quotas\": {\"$1\": $2}}" >"$DIR/policy"
	timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/many" "${3:-$1}" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	[ "$(tr '\n' ' ' <"$DIR/out")" = 'made made EPERM made ' ]
	grep -q 'refused: policy: .* exceed the '"$2"' of "quotas"' "$DIR/err"
	wait_for 2 same_objects
}

@test "programs" { two_of progs 2; }

@test "maps" { two_of maps 2; }

@test "bytes in maps" { two_of map_bytes 100000; }

@test "links: raw tracepoints" { two_of links 2; }

@test "links: on perf events" { two_of links 2 perf_links; }

@test "perf events" { two_of events 2; }

@test "perf events for output, which are the tool's own" { two_of events 2 outputs; }

@test "BTF objects" { two_of btfs 2; }

@test "links that only their pins keep, and calls at the same time" {
	echo '{"quotas": {"links": 2}}' >"$DIR/policy"
	cat >"$DIR/pins" <<'PY'
import bpf, os
PIN = 6
prog = bpf.prog_load(bpf.RAW_TRACEPOINT)
for name in "a", "b", "c":
    link = bpf.raw_tracepoint(prog)
    print(name, bpf.said(link))
    if isinstance(link, int):
        print("pinned", bpf.said(bpf.obj(PIN, "/sys/fs/bpf/" + name, link)))
        os.close(link)
PY
	timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/pins" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out"
	[ "$(grep -c 'pinned ok' "$DIR/out")" -eq 2 ]
	grep -qx 'c EPERM' "$DIR/out"
	echo '{"quotas": {"maps": 2}}' >"$DIR/policy"
	cat >"$DIR/parallel" <<'PY'
import bpf, threading
fds, ready = [], threading.Barrier(8)
def make():
    ready.wait()
    for _ in range(20):
        fds.append(bpf.map_create())
threads = [threading.Thread(target=make) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(sum(isinstance(fd, int) for fd in fds))
PY
	for try in 1 2 3; do
		[ "$(timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/parallel" 2>/dev/null)" -le 2 ]
	done
}

@test "instructions of one program" {
	echo '{"quotas": {"insns": 10}}' >"$DIR/policy"
	cat >"$DIR/long" <<'PY'
import bpf
for count in 9, 10, 11:
    fd = bpf.prog_load(code=bpf.returns(0) * (count - 1) + bpf.EXIT)
    print(count, "loaded" if isinstance(fd, int) else fd)
PY
	timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/long" >"$DIR/out"
	[ "$(tr '\n' ' ' <"$DIR/out")" = '9 loaded 10 loaded 11 EPERM ' ]
}

@test "the rate of a clock" {
	echo '{"quotas": {"clock_rate": 1000}}' >"$DIR/policy"
	cat >"$DIR/rates" <<'PY'
import bpf, os
FREQ = 1 << 10
def show(what, **how):
    where = dict(pid=how.pop("pid", -1), cpu=how.pop("cpu", 0))
    print(what, bpf.said(bpf.perf_event_open(bpf.perf_attr(**how), **where)))
TASK_CLOCK = 1
show("1000 Hz", period=1000000)
show("a bit more", period=999999)
show("1 ns", period=1)
show("1 ns of a task clock", config=TASK_CLOCK, period=1)
show("no ticks", period=0)
show("frequency 1000", period=1000, bits=FREQ)
show("frequency 1001", period=1001, bits=FREQ)
show("frequency of faults", config=bpf.PAGE_FAULTS, period=1001, bits=FREQ)
show("every fault", config=bpf.PAGE_FAULTS, period=1)
show("its own", period=10000, pid=os.getpid(), cpu=-1)
show("frequency beyond the kernel's", period=1 << 40, bits=FREQ)
PY
	real python3 "$DIR/rates" >"$DIR/real"
	timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/rates" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/real" "$DIR/out" "$DIR/err"
	# More than root gets nobody gets, and less than the kernel gives by the policy only.
	diff "$DIR/real" <(sed -E '/^(a bit more|1 ns|1 ns of a task clock|frequency 1001|frequency of faults) /s/EPERM/ok/' "$DIR/out")
	[ "$(grep -c EPERM "$DIR/out")" -eq 5 ]
	[ "$(grep -c 'clock_rate with 0 in use exceed the 1000 of "quotas"' "$DIR/err")" -eq 5 ]
	grep -qx "frequency beyond the kernel's EINVAL" "$DIR/out"
}

@test "links: many probes at once" {
	echo '{"quotas": {"links": 2}}' >"$DIR/policy"
	cat >"$DIR/multi" <<'PY'
import bpf, sys
prog = bpf.prog_load(bpf.KPROBE, attach_type=bpf.UPROBE_MULTI)
offset = bpf.elf_offset(sys.argv[1], "work")
for count in 3, 2:
    print(count, bpf.said(bpf.uprobe_multi(prog, sys.argv[1], [offset] * count)))
PY
	timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/multi" "$DIR/sample" >"$DIR/out"
	[ "$(tr '\n' ' ' <"$DIR/out")" = '3 EPERM 2 ok ' ]
}
