#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Each way to ask for something, against a policy that refuses just that and against one that does not.

load common

setup()
{
	common_setup
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/asks" <<'PY'
import bpf, ctypes, os, struct, sys
path = os.path.dirname(sys.argv[0]) + "/sample"
sample = ctypes.create_string_buffer(path.encode())
function = ctypes.create_string_buffer(b"do_nanosleep")
watched = ctypes.create_string_buffer(8)
def number(path):
    return int(open(path).read())
def event(kind, config=0, config1=0, config2=0, bp_type=0, pid=-1, cpu=0):
    attr = bytearray(bpf.perf_attr(kind=kind, config=config, period=1))
    struct.pack_into("=I2Q", attr, 52, bp_type, config1, config2)
    return bpf.perf_event_open(bytes(attr), pid, cpu)
def pmu(name):
    return number(f"/sys/bus/event_source/devices/{name}/type")
def scheduler_event():
    return event(2, number("/sys/kernel/tracing/events/sched/sched_switch/id"))
def watchpoint(address, **how):
    # of written words
    return event(5, bp_type=2, config1=address, config2=4, **how)
def helper(number):
    log = ctypes.create_string_buffer(4096)
    # bpf_probe_read_kernel(stack, 8, stack)
    code = bpf.insn(0x7a, 10, off=-8) + bpf.insn(0xbf, 1, 10) + bpf.insn(7, 1, imm=-8) + bpf.insn(0xb7, 2, imm=8) + bpf.insn(0xbf, 3, 1)
    return bpf.prog_load(bpf.KPROBE, code + bpf.call(number) + bpf.NOTHING, log)
def variable(module=0, kind=bpf.KPROBE):
    return bpf.prog_load(kind, bpf.insn(0x18, 1, 3, imm=1) + bpf.insn(0, imm=module) + bpf.NOTHING)
KERNEL_FUNCTION = bpf.insn(0x85, src=2, imm=1)
def entry_of_function():
    # fentry of do_nanosleep
    prog = bpf.prog_load(bpf.TRACING, attach_type=24, function=int(os.environ["FUNCTION"]))
    return bpf.bpf(bpf.RAW_TRACEPOINT_OPEN, struct.pack("QI4x", 0, prog)) if isinstance(prog, int) else prog
def query():
    of = scheduler_event()
    return bpf.ioctl(of, 0xc008240a, struct.pack("2I", 0, 0)) if isinstance(of, int) else of
asks = dict(
    kprobe=lambda: event(pmu("kprobe"), config1=ctypes.addressof(function)),
    kprobe_address=lambda: event(pmu("kprobe"), config2=0xffffffff81000000),
    uprobe=lambda: event(pmu("uprobe"), config1=ctypes.addressof(sample), config2=bpf.elf_offset(path, "work")),
    tracepoint=scheduler_event,
    query=query,
    clock=lambda: bpf.perf_event_open(bpf.perf_attr()),
    output=lambda: bpf.perf_event_open(bpf.perf_attr(config=bpf.BPF_OUTPUT, sample=bpf.SAMPLE_RAW)),
    watchpoint=lambda: watchpoint(ctypes.addressof(watched), pid=os.getpid(), cpu=-1),
    watchpoint_kernel=lambda: watchpoint(0xffffffff81000000, pid=os.getpid(), cpu=-1),
    watchpoint_everybody=lambda: watchpoint(ctypes.addressof(watched)),
    raw_tracepoint=lambda: bpf.raw_tracepoint(bpf.prog_load(bpf.RAW_TRACEPOINT)),
    probe_read_kernel=lambda: helper(113),
    variable=variable,
    variable_of_module=lambda: variable(1),
    variable_of_socket=lambda: variable(kind=bpf.SOCKET_FILTER),
    kernel_function=lambda: bpf.prog_load(bpf.KPROBE, KERNEL_FUNCTION + bpf.NOTHING),
    kernel_function_of_module=lambda: bpf.prog_load(bpf.KPROBE, bpf.insn(0x85, src=2, off=9, imm=1) + bpf.NOTHING),
    every_function=lambda: event(2, 1),
    kernel_function_of_socket=lambda: bpf.prog_load(bpf.SOCKET_FILTER, KERNEL_FUNCTION + bpf.NOTHING),
    kernel_function_later=lambda: bpf.prog_load(bpf.KPROBE, bpf.insn(0x18, 2, 4, imm=3) + bpf.insn(0) + KERNEL_FUNCTION + bpf.NOTHING + bpf.NOTHING),
    packets=lambda: bpf.prog_load(6),
    calls=lambda: bpf.prog_load(31),
    entry_of_function=entry_of_function,
    iterator=lambda: bpf.prog_load(bpf.TRACING, attach_type=28),
    modify_return=lambda: bpf.prog_load(bpf.TRACING, attach_type=26),
    of_device=lambda: bpf.prog_load(device=1),
    of_program=lambda: bpf.prog_load(bpf.TRACING, attach_type=24, target=bpf.prog_load()),
)
for name in sys.argv[1:] or asks:
    print(name, bpf.said(asks[name]()))
PY
}

teardown() { common_teardown; }

# Not every kernel is built with them.
has_kprobes()
{
	[ -e /sys/bus/event_source/devices/kprobe ]
}

# asked POLICY NAME...: the answers under the policy are in $DIR/out, the reasons in $DIR/err
asked()
{
	echo "$1" >"$DIR/policy"
	shift
	timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/asks" "$@" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
}

# refused NAME REASON: with EPERM and for this reason, and nothing else was
refused()
{
	grep -qx "$1 EPERM" "$DIR/out"
	[ "$(grep -c 'refused: ' "$DIR/err")" -eq 1 ]
	grep -qE "refused: $2" "$DIR/err"
}

@test "attach kinds and targets" {
	local kind kinds='uprobe tracepoint watchpoint raw_tracepoint' others
	has_kprobes && kinds="kprobe $kinds"
	asked '{}' $kinds
	[ "$(grep -c ' ok$' "$DIR/out")" -eq "$(wc -w <<<"$kinds")" ]
	for kind in $kinds; do
		others=$(printf '"%s"\n' kprobe uprobe tracepoint perf_event watchpoint raw_tracepoint | grep -v "\"$kind\"" | paste -sd,)
		asked "{\"attach\": [$others]}" $kind clock
		grep -qx 'clock ok' "$DIR/out"
		refused $kind "policy: .*$kind is not in \"attach\""
	done
	asked '{"attach": ["uprobe"]}' clock
	refused clock 'policy: .*perf_event is not in "attach"'
	asked '{"attach_targets": {"tracepoint": ["syscalls:*"]}}' tracepoint
	refused tracepoint 'policy: tracepoint sched:sched_switch matches no pattern in "attach_targets"'
	if has_kprobes; then
		asked '{"attach_targets": {"kprobe": ["tcp_*"]}}' kprobe
		refused kprobe 'policy: kprobe do_nanosleep matches no pattern'
	fi
	asked '{"attach_targets": {"uprobe": ["/usr/*"]}}' uprobe
	refused uprobe "policy: uprobe $DIR/sample matches no pattern"
	asked '{"attach_targets": {"raw_tracepoint": ["sys_*"]}}' raw_tracepoint
	refused raw_tracepoint 'policy: raw_tracepoint sched_switch matches no pattern'
	# The command of raw tracepoints also attaches to functions, where the kernel lets root itself.
	export FUNCTION=$(bpftool btf dump file /sys/kernel/btf/vmlinux | sed -nE "s/^\[([0-9]+)\] FUNC 'do_nanosleep'.*/\1/p")
	if python3 "$DIR/asks" entry_of_function | grep -q ' ok$'; then
		asked '{"attach": ["raw_tracepoint"]}' entry_of_function
		refused entry_of_function 'policy: .*kprobe is not in "attach"'
		asked '{"attach_targets": {"kprobe": ["do_nanosleep"]}}' entry_of_function
		refused entry_of_function 'policy: kprobe without a target matches no pattern'
	fi
}

# mounted PATTERN SCRIPT: what a uprobe gets on $PROBED (or $DIR/sample) where only what the pattern
# matches may be probed, after SCRIPT has changed the tenant's mounts
mounted()
{
	printf '{"attach_targets": {"uprobe": [%s]}}' "$1" >"$DIR/policy"
	timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- bash -e -c "$2; python3 $DIR/asks uprobe" \
		>"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
}

@test "the files of a policy are those that the host calls so, whatever the tenant mounts" {
	# python's own look at the file's symbols is to find the sample, whichever file the kernel is given
	sed -i 's#^sample = .*#sample = ctypes.create_string_buffer(os.environ.get("PROBED", path).encode())#' "$DIR/asks"
	mounted "\"$DIR/sam*\"" :
	grep -qx 'uprobe ok' "$DIR/out"
	# However it is named: the link, the detour and the place are the tenant's, the file is not.
	mounted "\"$DIR/sam*\"" "ln -s $DIR/sample /tmp/link-$$; export PROBED=/tmp/link-$$"
	rm -f "/tmp/link-$$"
	grep -qx 'uprobe ok' "$DIR/out"
	mounted '"/usr/bin/true"' "export PROBED=/usr/bin/true; mount --bind $DIR/sample /usr/bin/true"
	refused uprobe 'policy: uprobe /usr/bin/true, by which the host knows no such file, matches no pattern'
	mounted '"/usr/*"' "export PROBED=/usr/bin/../../$DIR/sample"
	refused uprobe 'policy: uprobe /usr/bin/../..//.* matches no pattern'
	# An overlay's file is the host's own to a breakpoint.
	mounted '"/srv/*"' "export PROBED=/srv/sample; mount -t overlay overlay -o ro,lowerdir=$DIR:/srv /srv"
	refused uprobe 'policy: uprobe /srv/sample, by which the host knows no such file, matches'
	mounted '"*"' "export PROBED=/mnt/sample; mount --bind $DIR /mnt"
	grep -qx 'uprobe ok' "$DIR/out"
	# Links of the host's own in the pattern.
	mkdir "$DIR/real"
	mv "$DIR/sample" "$DIR/real/"
	ln -s real "$DIR/linked"
	ln -s real/sample "$DIR/sample"
	mounted "\"$DIR/sample\"" :
	grep -qx 'uprobe ok' "$DIR/out"
	mounted "\"$DIR/linked/s*e\"" :
	grep -qx 'uprobe ok' "$DIR/out"
	mounted "\"$DIR/linked/x*\"" :
	refused uprobe "policy: uprobe $DIR/sample matches no pattern"
}

@test "kernel deny: nothing but output buffers, and uprobes only where programs may run in processes" {
	asked '{"kernel": "deny", "user": "deny"}' uprobe tracepoint clock watchpoint output
	[ "$(grep -c ' EPERM$' "$DIR/out")" -eq 4 ]
	grep -qx 'output ok' "$DIR/out"
	[ "$(grep -c 'programs in the kernel are refused' "$DIR/err")" -eq 4 ]
	asked '{"kernel": "deny"}' uprobe tracepoint clock watchpoint output
	[ "$(grep -c ' EPERM$' "$DIR/out")" -eq 3 ]
	grep -qx 'uprobe ok' "$DIR/out"
}

@test "kernel memory" {
	asked '{}' probe_read_kernel
	grep -qx 'probe_read_kernel ok' "$DIR/out"
	asked '{"kernel_memory": "deny"}' probe_read_kernel
	refused probe_read_kernel '.*probe_read_kernel'
	asked '{"kernel_memory": "deny"}' variable
	refused variable 'policy: reading kernel memory is refused'
	asked '{"kfuncs": "allow"}' kernel_function
	refute grep refused "$DIR/err"
	asked '{}' kernel_function
	refused kernel_function 'policy: kernel functions are refused'
	asked '{"kfuncs": "allow", "kernel_memory": "deny"}' kernel_function
	refused kernel_function 'policy: reading kernel memory is refused'
}

@test "what runs without the guard is refused, whatever the policy allows" {
	asked '{"kfuncs": "allow"}' kernel_function_of_module
	refused kernel_function_of_module 'functions of kernel modules are not served'
	asked '{"kfuncs": "allow"}' kernel_function_of_socket
	refused kernel_function_of_socket "a socket's program, which has no guard, may not call kernel functions"
	asked '{"kfuncs": "allow"}' kernel_function_later
	refused kernel_function_later 'kernel functions and callbacks in one program'
	asked '{"prog_types": ["xdp", "syscall"]}' packets
	refused packets 'programs of type 6 are not served: no guard fits them'
	asked '{"prog_types": ["xdp", "syscall"]}' calls
	refused calls 'programs of type 31 are not served: no guard fits them'
	real bpftool prog load "$DIR/timer.bpf.o" /sys/fs/bpf/bpfshim-test-$$
	echo '{"helpers": {"allow": ["timer_init", "timer_set_callback", "timer_start"]}}' >"$DIR/policy"
	refute timeout 30 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- bpftool prog load "$DIR/timer.bpf.o" /sys/fs/bpf/timer >"$DIR/out" 2>&1
	grep -q 'refused: callbacks of timers run in tasks of others: timer_init#169, timer_set_callback#170, timer_start#171' "$DIR/out"
}

@test "what no policy allows" {
	local name reason
	while IFS=: read -r name reason; do
		[ "$name" != kprobe_address ] || has_kprobes || continue
		asked '{}' "$name"
		refused "$name" "$reason"
	done <<'EOR'
kprobe_address:a kprobe by address would confirm guesses
watchpoint_kernel:watchpoints are for user addresses of one process
watchpoint_everybody:watchpoints are for user addresses of one process
variable_of_socket:a socket's program, which has no guard, may not read kernel variables
variable_of_module:variables of kernel modules are not served
iterator:iterators and modify_return programs act beyond the tenant
modify_return:iterators and modify_return programs act beyond the tenant
every_function:ftrace:function is no tracepoint
of_device:programs for a device are not served
of_program:tokens, and programs attached to programs, are not served
EOR
	asked '{}' query
	grep -qx 'query EPERM' "$DIR/out"
}

@test "a socket's program, which has no guard, sees neither its sender nor the kernel's memory" {
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	cat >"$DIR/filter" <<-'EOP'
		import struct, bpf
		for helper in 14, 15, 35:
		    print(helper, bpf.prog_load(code=struct.pack("<BBhi", 0x85, 0, 0, helper) + bpf.EXIT))
		print("plain", bpf.prog_load() > 0)
	EOP
	timeout 30 "$BPFSHIMD" --run --unprivileged -- python3 "$DIR/filter" >"$DIR/out" 2>"$DIR/err"
	[ "$(grep -c EPERM "$DIR/out")" -eq 3 ]
	grep -qx 'plain True' "$DIR/out"
}
