#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# bpfshimctl verify: verdicts on object files, and nothing of them in the kernel.

load common

setup()
{
	common_setup
	cat >"$DIR/two.bpf.c" <<'C'
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, int);
	__type(value, long);
} hash SEC(".maps");
SEC("uprobe") int good(void *ctx)
{
	int key = 1;
	long value = 1;

	bpf_map_update_elem(&hash, &key, &value, 0);
	return 0;
}
SEC("uprobe") int bad(void *ctx)
{
	int key = 1;
	long *value = bpf_map_lookup_elem(&hash, &key);

	return *value;
}
C
	clang-14 -O2 -g -target bpf -I/usr/include/x86_64-linux-gnu -c "$DIR/two.bpf.c" -o "$DIR/two.o"
}

teardown() { common_teardown; }

@test "each program has its verdict, facts or log; one refused is exit status 1" {
	run "$BPFSHIMCTL" verify "$DIR/two.o"
	[ "$status" -eq 1 ]
	grep -q '^good: accepted, ' <<<"$output"
	grep -q '^  maps: type 1$' <<<"$output"
	grep -q '^  helpers: 2$' <<<"$output"
	grep -q '^bad: Permission denied, ' <<<"$output"
	grep -q "^R0 invalid mem access 'map_value_or_null'" <<<"$output"
}

@test "--program picks one; one that is not there is an error" {
	run "$BPFSHIMCTL" verify --program good "$DIR/two.o"
	[ "$status" -eq 0 ]
	! grep -q '^bad' <<<"$output"
	run "$BPFSHIMCTL" verify --program none "$DIR/two.o"
	[ "$status" -eq 1 ]
}

@test "nothing reaches the kernel: no bpf() call is made" {
	strace -f -o "$DIR/calls" -e trace=bpf "$BPFSHIMCTL" verify "$DIR/two.o" || true
	! grep -q 'bpf(' "$DIR/calls"
}

@test "--against-kernel: both verdicts" {
	run "$BPFSHIMCTL" verify --against-kernel "$DIR/two.o"
	[ "$status" -eq 1 ]
	grep -A4 '^good: accepted' <<<"$output" | grep -q '^  kernel: accepted, '
	grep -q '^  kernel: Permission denied, ' <<<"$output"
}

@test "damaged files are an error, never a crash" {
	head -c 700 "$DIR/two.o" >"$DIR/short.o"
	run "$BPFSHIMCTL" verify "$DIR/short.o"
	[ "$status" -eq 1 ]
	python3 - "$DIR" <<'PY'
import random, sys
whole = open(sys.argv[1] + "/two.o", "rb").read()
random.seed(1)
for n in range(40):
    damaged = bytearray(whole)
    for _ in range(6):
        damaged[random.randrange(64, len(damaged))] = random.choice((0, 255, 127, random.randrange(256)))
    open(f"{sys.argv[1]}/damaged{n}.o", "wb").write(damaged)
PY
	for file in "$DIR"/damaged*.o; do
		run timeout 20 "$BPFSHIMCTL" verify "$file"
		[ "$status" -le 1 ]
	done
}
