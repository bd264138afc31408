#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Single calls whose answer is not a matter of what a tool shows.

load common

setup()
{
	common_setup
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
}

teardown() { common_teardown; }

@test "descriptors are closed on exec where the kernel's are" {
	cat >"$DIR/cloexec" <<'PY'
import bpf, fcntl, struct
def show(what, fd):
    print(what, "closed on exec" if fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC else "kept")
prog = bpf.prog_load(bpf.RAW_TRACEPOINT)
clock = bpf.prog_load(bpf.PERF_EVENT)
map = bpf.map_create()
event = bpf.perf_event_open(bpf.perf_attr())
output = bpf.perf_attr(config=bpf.BPF_OUTPUT, sample=bpf.SAMPLE_RAW)
show("map", map)
show("program", prog)
show("BTF", bpf.btf_load())
show("raw tracepoint", bpf.raw_tracepoint(prog))
show("link", bpf.link_create(clock, event))
show("perf event", event)
show("perf event, asked", bpf.perf_event_open(bpf.perf_attr(), flags=bpf.FLAG_CLOEXEC))
show("output event", bpf.perf_event_open(output))
show("output event, asked", bpf.perf_event_open(output, flags=bpf.FLAG_CLOEXEC))
show("map by id", bpf.bpf(bpf.MAP_BY_ID, struct.pack("3I", struct.unpack_from("2I", bpf.info(map))[1], 0, 0)))
PY
	real python3 "$DIR/cloexec" >"$DIR/real"
	ours python3 "$DIR/cloexec" >"$DIR/ours"
	diff "$DIR/real" "$DIR/ours"
	[ "$(grep -c 'closed on exec' "$DIR/ours")" -eq 8 ]
	[ "$(grep -c kept "$DIR/ours")" -eq 2 ]
}

@test "perf events that could tell of others are opened with the caller's own rights" {
	cat >"$DIR/forms" <<'PY'
import bpf
def form(what, pid=-1, cpu=0, **how):
    print(what, bpf.said(bpf.perf_event_open(bpf.perf_attr(**how), pid, cpu)))
for bit in range(20):
    form(f"clock, sample bit {bit}", sample=1 << bit)
    if 1 << bit != bpf.SAMPLE_RAW:
        form(f"output, sample bit {bit}", config=bpf.BPF_OUTPUT, sample=bpf.SAMPLE_RAW | 1 << bit)
for bit in range(5):
    form(f"clock, read bit {bit}", read_format=1 << bit)
    form(f"output, read bit {bit}", config=bpf.BPF_OUTPUT, sample=bpf.SAMPLE_RAW, read_format=1 << bit)
# All flags but those tools set: disabled, pinned, exclude_*, freq, precise_ip.
for bit in (1, 3, 8, 9, 11, 12, 13, 14, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37):
    form(f"clock, flag {bit}", bits=1 << bit)
    form(f"output, flag {bit}", config=bpf.BPF_OUTPUT, sample=bpf.SAMPLE_RAW, bits=1 << bit)
for field in ("branch_sample_type", "sample_regs_user", "sample_stack_user", "clockid", "sample_regs_intr", "aux_watermark",
              "sample_max_stack", "sig_data"):
    form(f"output, {field}", config=bpf.BPF_OUTPUT, sample=bpf.SAMPLE_RAW, **{field: 8})
attr = bpf.perf_attr()
for flag in (1, 2, 4):
    print("flags", flag, bpf.said(bpf.perf_event_open(attr, flags=flag)))
event = bpf.perf_event_open(attr)
print("in a group", bpf.said(bpf.perf_event_open(attr, group=event if isinstance(event, int) else 0)))
PY
	# Who has no right to anything, and no daemon.
	setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all python3 "$DIR/forms" | sed '$d' >"$DIR/nobody"
	ours python3 "$DIR/forms" >"$DIR/ours"
	[ "$(wc -l <"$DIR/nobody")" -gt 110 ]
	refute grep ok "$DIR/nobody"
	diff "$DIR/nobody" <(sed '$d' "$DIR/ours")
	[ "$(tail -1 "$DIR/ours")" != 'in a group ok' ]
	# The forms tools use are carried out.
	cat >"$DIR/used" <<'PY'
import bpf
print(bpf.said(bpf.perf_event_open(bpf.perf_attr())))
print(bpf.said(bpf.perf_event_open(bpf.perf_attr(config=bpf.BPF_OUTPUT, sample=bpf.SAMPLE_RAW))))
PY
	[ "$(ours python3 "$DIR/used" | tr '\n' ' ')" = 'ok ok ' ]
}

@test "no program runs on a perf event the tenant opened by its own rights" {
	cat >"$DIR/own" <<'PY'
import bpf
prog = bpf.prog_load(bpf.PERF_EVENT)
own = bpf.perf_event_open(bpf.perf_attr(bits=1 << 5 | 1 << 6), pid=0, cpu=-1) # exclude_kernel, exclude_hv
print("opened", bpf.said(own), bpf.said(prog))
print("attached", bpf.said(bpf.ioctl(own, bpf.IOC_SET_BPF, prog)))
print("linked", bpf.said(bpf.link_create(prog, own)))
print("enabled", bpf.said(bpf.ioctl(own, 0x2400)))
PY
	real python3 "$DIR/own" >"$DIR/real"
	ours python3 "$DIR/own" >"$DIR/ours" 2>"$DIR/err"
	[ "$(tr '\n' ' ' <"$DIR/real")" = 'opened ok ok attached ok linked EEXIST enabled ok ' ]
	[ "$(tr '\n' ' ' <"$DIR/ours")" = 'opened ok ok attached EPERM linked EINVAL enabled ok ' ]
	grep -q 'a program runs only on events opened through the daemon' "$DIR/err"
}

@test "i386 and x32: perf events and perf ioctls are closed, too" {
	cat >"$DIR/entry.c" <<'EOC'
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
static long i386(long nr, long b, long c, long d)
{
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(b), "c"(c), "d"(d), "S"(-1), "D"(0) : "memory");
	return r;
}
static long x32(long nr, long a, long b, long c)
{
	return syscall(0x40000000 + nr, a, b, c, -1, 0) < 0 ? -errno : 0;
}
int main(void)
{
	printf("perf_event_open %ld %ld\n", i386(336, 0, -1, 0), x32(298, 0, -1, 0));
	printf("set_bpf %ld %ld\n", i386(54, 0, PERF_EVENT_IOC_SET_BPF, 0), x32(514, 0, PERF_EVENT_IOC_SET_BPF, 0));
	printf("tiocsti %ld %ld\n", i386(54, -1, TIOCSTI, 0), x32(514, -1, TIOCSTI, 0));
	printf("tiocgwinsz %s\n", i386(54, -1, TIOCGWINSZ, 0) == -EBADF ? "as ever" : "closed");
	return 0;
}
EOC
	gcc -o "$DIR/entry" "$DIR/entry.c"
	"$DIR/entry"
	ours "$DIR/entry" >"$DIR/out"
	cat "$DIR/out"
	[ "$(head -3 "$DIR/out" | tr '\n' ' ')" = 'perf_event_open -1 -1 set_bpf -1 -1 tiocsti -1 -1 ' ]
}

@test "policy: raw tracepoints can be refused however they are asked for" {
	echo '{"attach": ["uprobe"]}' >"$DIR/policy"
	cat >"$DIR/raw" <<'PY'
import bpf
prog = bpf.prog_load(bpf.RAW_TRACEPOINT)
print(bpf.said(prog), bpf.said(bpf.raw_tracepoint(prog)))
clock = bpf.prog_load(bpf.PERF_EVENT)
print(bpf.said(clock), bpf.said(bpf.perf_event_open(bpf.perf_attr())))
PY
	timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/raw" >"$DIR/out"
	cat "$DIR/out"
	[ "$(tr '\n' ' ' <"$DIR/out")" = 'ok EPERM ok EPERM ' ]
}

@test "a reference counter that is no semaphore changes nobody's data" {
	cat >"$DIR/counter.c" <<'EOC'
#include <stdio.h>
volatile unsigned short counter = 7;
__attribute__((noinline)) int work(int n) { return n + counter; }
int main(int argc, char **argv)
{
	printf("%d\n", work(0));
	return 0;
}
EOC
	cat >"$DIR/raise" <<'PY'
import bpf, ctypes, struct, subprocess, sys
path, how = sys.argv[1:]
offset = {symbol: bpf.elf_offset(path, symbol) for symbol in ("work", "counter")}
if how == "event":
    name = ctypes.create_string_buffer(path.encode())
    kind = int(open("/sys/bus/event_source/devices/uprobe/type").read())
    attr = bytearray(bpf.perf_attr(kind=kind, config=offset["counter"] << 32, period=1))
    struct.pack_into("2Q", attr, 56, ctypes.addressof(name), offset["work"])
    fd = bpf.perf_event_open(bytes(attr))
else:
    prog = bpf.prog_load(bpf.KPROBE, attach_type=bpf.UPROBE_MULTI)
    fd = bpf.uprobe_multi(prog, path, [offset["work"]], [offset["counter"]])
print(bpf.said(fd), flush=True)
subprocess.run([path])
PY
	gcc -O1 -o "$DIR/counter" "$DIR/counter.c"
	for how in event multi; do
		# Each with a file of its own: what real root did to one must not hide what we do.
		cp "$DIR/counter" "$DIR/counter-real-$how"
		cp "$DIR/counter" "$DIR/counter-ours-$how"
		[ "$(real python3 "$DIR/raise" "$DIR/counter-real-$how" $how | tr '\n' ' ')" = 'ok 8 ' ]
		[ "$(ours python3 "$DIR/raise" "$DIR/counter-ours-$how" $how | tr '\n' ' ')" = 'ok 7 ' ]
	done
}
