#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Our verifier in front of the kernel's: "verifier" in the policy, what it proves about stacks, and --verify-only.

load common

setup()
{
	common_setup
	cp "$BATS_TEST_DIRNAME/bpf.py" "$DIR/"
	# Its worker is the one beside it, which a test replaces.
	cp "$BPFSHIMD" "$ROOT/build/bpfshim-worker" "$DIR/"
	cat >"$DIR/asks" <<'PY'
import bpf, ctypes, struct, sys
XDP = 6
WRITABLE = 24  # raw_tracepoint_writable, whose programs our verifier does not know
def load(kind, code):
    log = ctypes.create_string_buffer(65536)
    fd = bpf.prog_load(kind, code, log)
    print(bpf.said(fd))
    sys.stdout.write(log.value.decode())
    return fd
def tried(prog):
    attr = ctypes.create_string_buffer(struct.pack("2I8x56x", prog, 0).ljust(80, b"\0"), 80)
    result = bpf.bpf(bpf.PROG_TEST_RUN, attr)
    return hex(struct.unpack_from("I", attr, 4)[0]) if result == 0 else result
def read_stack(frame, words=4):
    # r0 = all words of the frame together, folded. So few lie on the kernel's own stack, more on one for programs.
    code = bpf.returns(0)
    for i in range(words):
        code += bpf.insn(0x79, 1, frame, -8 * (i + 1)) + bpf.insn(0x4f, 0, 1)
    return code + bpf.insn(0xbf, 1, 0) + bpf.insn(0x77, 1, imm=32) + bpf.insn(0x4f, 0, 1) + bpf.EXIT
asks = dict(
    nothing=lambda: load(bpf.SOCKET_FILTER, bpf.NOTHING),
    probe=lambda: load(bpf.KPROBE, bpf.NOTHING),
    unset=lambda: load(bpf.KPROBE, bpf.EXIT),
    writable=lambda: load(WRITABLE, bpf.NOTHING),
    # *(u64 *)(r10 - 8) = 0; r1 = 0; then with xadd, with and without the old number
    fetches=lambda: load(WRITABLE, bpf.insn(0x7a, 10, off=-8) + bpf.insn(0xb7, 1) + bpf.insn(0xdb, 10, 1, -8, 1) + bpf.NOTHING),
    adds=lambda: load(WRITABLE, bpf.insn(0x7a, 10, off=-8) + bpf.insn(0xb7, 1) + bpf.insn(0xdb, 10, 1, -8, 0) + bpf.NOTHING),
    stack=lambda: print(tried(load(bpf.RAW_TRACEPOINT, read_stack(10)))),
    stack_below=lambda: print(tried(load(bpf.RAW_TRACEPOINT, bpf.insn(0x85, src=1, imm=1) + bpf.EXIT + read_stack(10)))),
    stack_of_socket=lambda: load(bpf.SOCKET_FILTER, read_stack(10)),
    address=lambda: load(bpf.SOCKET_FILTER, bpf.insn(0xbf, 0, 1) + bpf.EXIT),
    variable=lambda: load(bpf.KPROBE, bpf.insn(0x18, 1, 3, imm=1) + bpf.insn(0) + bpf.NOTHING),
    seven=lambda: print(tried(load(bpf.RAW_TRACEPOINT, bpf.returns(7) + bpf.EXIT))),
    # bpf_xdp_adjust_head()
    moves=lambda: print(tried(load(XDP, bpf.insn(0xb7, 2, imm=8) + bpf.insn(0x85, imm=44) + bpf.EXIT))),
)
for name in sys.argv[1:]:
    print("--", name)
    asks[name]()
PY
}

teardown() { common_teardown; }

# asked POLICY NAME...: the answers under the policy are in $DIR/out, the reasons in $DIR/err
asked()
{
	echo "$1" >"$DIR/policy"
	shift
	timeout 60 "$DIR/bpfshimd" --run --unprivileged --policy "$DIR/policy" -- python3 "$DIR/asks" "$@" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
}

# answered NAME ANSWER: and maybe a log behind it
answered()
{
	grep -A1 -x -e "-- $1" "$DIR/out" | tail -1 | grep -qxE "$2"
}

@test "both refuse: the kernel's words, and ours where it alone decides" {
	asked '{"verifier": "kernel"}' unset
	cp "$DIR/out" "$DIR/kernel"
	answered unset EACCES
	asked '{}' unset
	diff "$DIR/kernel" "$DIR/out"
	asked '{"verifier": "user"}' unset
	answered unset EACCES
	grep -qx 'R0 !read_ok' "$DIR/out"
}

@test "what our verifier does not cover is the kernel's to decide, unless ours decides alone" {
	asked '{"prog_types": ["raw_tracepoint_writable"]}' writable
	answered writable ok
	asked '{"prog_types": ["raw_tracepoint_writable"], "verifier": "kernel"}' writable
	answered writable ok
	asked '{"prog_types": ["raw_tracepoint_writable"], "verifier": "user"}' writable
	answered writable ENOTSUP
	grep -qx 'not supported by this verifier: program type 24' "$DIR/out"
}

@test "what ours does not cover may not fetch from memory, which the kernel does not follow" {
	local policy
	for policy in '' ', "verifier": "both"'; do
		asked "{\"prog_types\": [\"raw_tracepoint_writable\"]$policy}" fetches adds
		answered fetches ENOTSUP
		answered adds ok
		grep -qx "2: an atomic operation that fetches, in a program that bpfshim's verifier did not check: the kernel's is mistaken about such" "$DIR/out"
		grep -q 'an atomic operation that fetches' "$DIR/err"
	done
	asked '{"prog_types": ["raw_tracepoint_writable"], "verifier": "kernel"}' fetches
	answered fetches ok
	# Where the verifier fails on a program that it would cover, too.
	cp /bin/false "$DIR/bpfshim-worker"
	asked '{"prog_types": ["raw_tracepoint_writable"]}' fetches adds
	answered fetches ENOTSUP
	answered adds ok
}

@test "what ours alone refuses is refused, in its words" {
	cp "$PROGRAMS/worker-stub" "$DIR/bpfshim-worker" # refuses socket filters
	asked '{"verifier": "kernel"}' nothing
	answered nothing ok
	asked '{}' nothing
	answered nothing EACCES
	grep -q "^bpfshim: refused by bpfshim's verifier alone" "$DIR/out"
	grep -q 'refused: ' "$DIR/err"
	asked '{"verifier": "user"}' nothing
	answered nothing EACCES
}

@test "a worker that dies or hangs: the kernel decides, or nobody" {
	cp /bin/false "$DIR/bpfshim-worker"
	asked '{}' nothing
	answered nothing ok
	grep -q 'a program was not verified: ' "$DIR/err"
	asked '{"verifier": "user"}' nothing
	answered nothing EIO
	grep -q '^bpfshim: the verifier' "$DIR/out"
	cp "$PROGRAMS/worker-stub" "$DIR/bpfshim-worker" # hangs at kprobes
	asked '{}' probe
	answered probe ok
	asked '{"verifier": "user"}' probe
	answered probe ETIMEDOUT
	rm "$DIR/bpfshim-worker"
	asked '{}' nothing
	answered nothing ok
	asked '{"verifier": "user"}' nothing
	answered nothing EIO
}

# What others left on the kernel's stack is memory of the kernel.
@test "stack that a program did not write holds nothing of the kernel's where it may not read that" {
	local verifier
	asked '{"prefer": "kernel"}' stack stack_below
	[ "$(grep -c '^0x[1-9a-f][0-9a-f]*$' "$DIR/out")" -eq 2 ]
	for verifier in user kernel both; do
		asked "{\"prefer\": \"kernel\", \"kernel_memory\": \"deny\", \"verifier\": \"$verifier\"}" stack stack_below
		[ "$(grep -cx ok "$DIR/out")" -eq 2 ]
		[ "$(grep -cx 0x0 "$DIR/out")" -eq 2 ]
	done
}

@test "socket filters are loaded as for who may load nothing else, where the kernel shows nothing" {
	asked '{}' stack_of_socket address
	answered stack_of_socket ok
	answered address ok
	for policy in '{"kernel": "deny"}' '{"kernel_memory": "deny"}' '{"kernel": "deny", "verifier": "kernel"}'; do
		asked "$policy" stack_of_socket address nothing
		answered stack_of_socket EACCES
		grep -q '^invalid read from stack R10 off' "$DIR/out"
		answered address EACCES
		grep -q '^R0 leaks addr as return value' "$DIR/out"
		answered nothing ok
	done
}

# only OPTION... -- CMD...: verified and not run
only()
{
	timeout -k 5 60 "$BPFSHIMD" --run --verify-only "$@"
}

@test "--verify-only: what the kernel gets of a loader's programs is stubs" {
	local name id
	only -- sh -c "bpftool prog loadall $PROGRAMS/drain.bpf.o /sys/fs/bpf/all && ls /sys/fs/bpf/all >$DIR/names; touch $DIR/ready; sleep 4 3>&-" >"$DIR/out" 2>&1 &
	started $!
	wait_for 10 test -e "$DIR/ready"
	cat "$DIR/out"
	bpftool prog list | grep -F -f <(cut -c-15 "$DIR/names" | sed 's/.*/name & /') | cut -d: -f1 >"$DIR/ids"
	[ "$(wc -l <"$DIR/names")" -ge 5 ]
	[ "$(wc -l <"$DIR/ids")" -ge "$(wc -l <"$DIR/names")" ]
	while read -r id; do
		bpftool prog dump xlated id "$id" | grep -v '^ *;' >"$DIR/dump"
		diff "$DIR/dump" <(printf '   0: (b7) r0 = 0\n   1: (95) exit\n')
	done <"$DIR/ids"
}

@test "--verify-only: verdicts and logs are ours, whatever the policy lets run" {
	echo '{"kernel": "deny", "user": "deny", "prog_types": []}' >"$DIR/none"
	only --policy "$DIR/none" -- python3 "$DIR/asks" nothing probe unset writable variable >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out"
	answered nothing ok
	answered probe ok
	answered unset EACCES
	grep -qx 'R0 !read_ok' "$DIR/out"
	answered writable ENOTSUP
	grep -qx 'not supported by this verifier: program type 24' "$DIR/out"
	answered variable ENOTSUP
	# Those of good and bad programs are the kernel's.
	"$DIR/verdicts" >"$DIR/real"
	only -- "$DIR/verdicts" >"$DIR/ours"
	for how in real ours; do
		grep '^-- .*level [01], \(0\|65536\) bytes' "$DIR/$how" >"$DIR/$how.same"
	done
	[ "$(wc -l <"$DIR/ours.same")" -eq 39 ]
	diff "$DIR/real.same" "$DIR/ours.same"
}

@test "--verify-only: tools load and attach, and nothing they wrote runs but what they ask for" {
	cat >"$DIR/script.bt" <<'EOF'
BEGIN { printf("began\n"); }
tracepoint:raw_syscalls:sys_enter { @ = count(); }
interval:s:1 { printf("ticked\n"); }
END { printf("ended\n"); }
EOF
	only -- sh -c "bpftrace $DIR/script.bt & tool=\$!; sleep 3; $STOP_TOOL" >"$DIR/out" 2>&1
	cat "$DIR/out"
	grep -q '^Attaching 4 probes' "$DIR/out"
	# BEGIN and END are asked for.
	grep -qx began "$DIR/out"
	grep -qx ended "$DIR/out"
	lacks "$DIR/out" ticked '@: [1-9]'
	only -- python3 "$DIR/asks" seven moves >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qx 0x7 "$DIR/out"
	grep -qx EOPNOTSUPP "$DIR/out" || grep -qx ENOTSUP "$DIR/out"
	grep -q 'refused: the program was verified and cannot run outside of the kernel: helper 44 is' "$DIR/err"
}

@test "bpfshimctl verify needs no right at all" {
	cp "$PROGRAMS/drain.bpf.o" "$DIR/"
	cp "$BPFSHIMCTL" "$DIR/"
	run setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$DIR/bpfshimctl" verify "$DIR/drain.bpf.o"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(grep -c ': accepted, ' <<<"$output")" -ge 5 ]
}
