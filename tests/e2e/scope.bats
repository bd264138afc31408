#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A tenant sees itself and nobody else.

load common

setup() { common_setup; }
teardown() { common_teardown; }

# A process of the host that runs the same binary, over and over, while COMMAND runs.
with_host_noise()
{
	(while :; do "$DIR/sample" -n 40 >/dev/null; done) 3>&- &
	started $!
}

@test "uprobe: a host process running the same file is invisible" {
	with_host_noise
	ours bpftrace -e "uprobe:$DIR/sample:work { @[pid > 0] = count(); @all = count(); } uretprobe:$DIR/sample:work { @r = count(); }" -c "$DIR/sample -n 100 -s 300" >"$DIR/out" 2>&1
	grep -qx '@all: 100' "$DIR/out"
	grep -qx '@r: 100' "$DIR/out"
	grep -qx '@\[1\]: 100' "$DIR/out"
}

@test "usdt: the same" {
	with_host_noise
	ours bpftrace -e "usdt:$DIR/sample:sample:step { @ = count(); }" -c "$DIR/sample -n 100 -s 300" >"$DIR/out" 2>&1
	grep -qx '@: 100' "$DIR/out"
}

@test "tracepoints and profile: the same" {
	with_host_noise
	ours bpftrace -e 'tracepoint:sched:sched_process_exec { @x[str(args->filename)] = count(); } tracepoint:syscalls:sys_enter_write { @w[comm] = count(); } profile:hz:199 { @p[comm] = count(); } software:page-faults:1 { @f[comm] = count(); }' -c "/bin/sleep 1" >"$DIR/out" 2>&1
	grep -qx '@x\[/bin/sleep\]: 1' "$DIR/out"
	refute grep -q '\[sample\]' "$DIR/out"
	refute grep -q "$DIR/sample" "$DIR/out"
}

@test "an interval without a subject ticks whoever runs" {
	with_host_noise
	ours bpftrace -e 'interval:ms:100 { @++; if (@ == 10) { exit(); } }' >"$DIR/out" 2>&1
	grep -qx '@: 10' "$DIR/out"
}

@test "two tenants do not see each other" {
	cat >"$DIR/tree" <<EOF
bpftrace -e 'BEGIN { printf("attached\n"); } uprobe:$DIR/sample:work { @ = count(); }' >$DIR/\$1.bt 2>&1 & tool=\$!
while ! grep -q attached $DIR/\$1.bt; do sleep 0.05; done
bpftool prog show | grep -c kprobe >$DIR/\$1.progs
bpftool map show | grep -c name >$DIR/\$1.maps
echo up >$DIR/\$1.up
while [ ! -e $DIR/go ]; do sleep 0.05; done
$DIR/sample -n \$2 >/dev/null
sleep 0.5
$STOP_TOOL; wait
EOF
	touch "$DIR"/{one,two}.{bt,progs,maps,up}
	chmod 666 "$DIR"/{one,two}.*
	"$BPFSHIMD" --run --unprivileged -- sh "$DIR/tree" one 30 3>&- &
	local one=$!
	started $one
	"$BPFSHIMD" --run --unprivileged -- sh "$DIR/tree" two 50 3>&- &
	local two=$!
	started $two
	wait_for 20 grep -q up "$DIR/one.up"
	wait_for 20 grep -q up "$DIR/two.up"
	touch "$DIR/go"
	wait $one
	wait $two
	grep -qx '@: 30' "$DIR/one.bt"
	grep -qx '@: 50' "$DIR/two.bt"
	[ "$(cat "$DIR/one.progs")" = 1 ]
	[ "$(cat "$DIR/two.progs")" = 1 ]
	[ "$(cat "$DIR/one.maps")" = "$(cat "$DIR/two.maps")" ]
	nothing_left $one
	nothing_left $two
}

@test "a process outside the tenant cannot be named" {
	"$DIR/sample" -n 1 -s 8000 >/dev/null 3>&- &
	started $!
	# By its host number it is nobody, or somebody else of the tenant's.
	run ours bpftrace -p $! -e "uprobe:$DIR/sample:work { @ = count(); }"
	[ "$status" -ne 0 ]
	run "$BPFSHIMD" --run -- bpftrace -e 'usdt:'"$DIR"'/sample:sample:step { @ = count(); }' -p $!
	[ "$status" -ne 0 ]
}

@test "without --unprivileged the scope is the command tree" {
	with_host_noise
	timeout 30 "$BPFSHIMD" --run -- bpftrace -e "uprobe:$DIR/sample:work { @[pid == cpid] = count(); }" -c "$DIR/sample -n 100 -s 300" >"$DIR/out" 2>&1
	grep -qx '@\[1\]: 100' "$DIR/out"
}

@test "policy: kernel deny refuses with a reason where tools show it" {
	echo '{"kernel": "deny"}' >"$DIR/policy"
	run timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- bpftrace -v -e 'tracepoint:sched:sched_process_exec { @ = count(); }' -c /bin/true
	[ "$status" -ne 0 ]
	[[ "$output" == *'bpfshim: policy:'* ]]
	echo '{"kernel": "deny", "user": "deny"}' >"$DIR/policy"
	run timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- bpftrace -v -e "uprobe:$DIR/sample:work { @ = count(); }" -c "$DIR/sample -n 1"
	[ "$status" -ne 0 ]
	[[ "$output" == *'bpfshim: policy:'* ]]
}

@test "policy: a denied helper is refused in traced processes as well" {
	echo '{"kernel": "deny", "helpers": {"deny": ["get_current_comm"]}}' >"$DIR/policy"
	run timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- bpftrace -e "uprobe:$DIR/sample:work { @[comm] = count(); }" -c "$DIR/sample -n 1"
	[ "$status" -ne 0 ]
	[[ "$output" == *get_current_comm* ]]
}

@test "policy: a denied helper is refused by name, a denied attach kind too" {
	echo '{"helpers": {"deny": ["get_current_comm"]}, "attach": ["uprobe"]}' >"$DIR/policy"
	run timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- bpftrace -e "uprobe:$DIR/sample:work { @[comm] = count(); }" -c "$DIR/sample -n 1"
	[ "$status" -ne 0 ]
	[[ "$output" == *get_current_comm* ]]
	run timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- bpftrace -e 'tracepoint:sched:sched_process_exec { @ = count(); }' -c /bin/true
	[ "$status" -ne 0 ]
	[[ "$output" == *tracepoint* ]]
}

@test "policy: breakpoints in other processes can be forbidden" {
	echo '{"prefer": "kernel", "host_breakpoints": "deny"}' >"$DIR/policy"
	"$DIR/sample" -n 1 -s 8000 >/dev/null 3>&- &
	started $!
	wait_for 2 grep -q "$DIR/sample" "/proc/$!/maps"
	run timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- bpftrace -e "uprobe:$DIR/sample:work { @ = count(); }" -c "$DIR/sample -n 1"
	[ "$status" -ne 0 ]
	[[ "$output" == *host_breakpoints* ]]
}

@test "a program that asks for no task runs on clocks whoever runs, and on nobody else's page faults" {
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/faults.c" <<'EOC'
#include <sys/mman.h>
int main(void)
{
	for (;;) {
		char *page = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		madvise(page, 1 << 20, MADV_NOHUGEPAGE);
		for (int i = 0; i < 1 << 20; i += 4096)
			page[i] = 1;
		munmap(page, 1 << 20);
	}
}
EOC
	gcc -O1 -o "$DIR/faults" "$DIR/faults.c"
	"$DIR/faults" 3>&- &
	started $!
	cat >"$DIR/counts" <<'PY'
import bpf, ctypes, os, struct, time
def counter(config, period, attach):
    """A function that says how often a program ran for the event on any CPU."""
    map = bpf.map_create(bpf.ARRAY, entries=1)
    code = (bpf.insn(0x62, 10, off=-4) + bpf.insn(0xbf, 2, 10) + bpf.insn(7, 2, imm=-4) + bpf.load_map(map) + bpf.call(1) +
            bpf.insn(0x15, off=2) + bpf.insn(0xb7, 1, imm=1) + bpf.insn(0xdb, 0, 1) + bpf.NOTHING)
    prog = bpf.prog_load(bpf.PERF_EVENT, code)
    for cpu in range(os.cpu_count()):
        event = bpf.perf_event_open(bpf.perf_attr(config=config, period=period), cpu=cpu)
        if attach == "ioctl":
            assert bpf.ioctl(event, bpf.IOC_SET_BPF, prog) == 0
        else:
            assert isinstance(bpf.link_create(prog, event), int)
    def read():
        key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(8)
        bpf.bpf(bpf.MAP_LOOKUP, struct.pack("2I3Q", map, 0, ctypes.addressof(key), ctypes.addressof(value), 0))
        return struct.unpack("Q", value.raw)[0]
    return read
for attach in "ioctl", "link":
    ticks, faults = counter(bpf.CPU_CLOCK, 1000000, attach), counter(bpf.PAGE_FAULTS, 1, attach)
    before = ticks(), faults()
    time.sleep(1)
    print(attach, "many ticks," if ticks() - before[0] > 200 else "few ticks,",
          "many faults" if faults() - before[1] > 1000 else "few faults")
PY
	[ "$(real python3 "$DIR/counts" | tr '\n' ';')" = 'ioctl many ticks, many faults;link many ticks, many faults;' ]
	[ "$(ours python3 "$DIR/counts" | tr '\n' ';')" = 'ioctl many ticks, few faults;link many ticks, few faults;' ]
}
