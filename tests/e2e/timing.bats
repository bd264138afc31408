#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What changes while a call is under way: the memory it points to, and the process that made it.

load common

setup() { common_setup; }
teardown() { common_teardown; }

@test "what was checked is what is done, however fast the caller changes its mind" {
	echo '{"map_types": ["array"], "prog_types": ["socket_filter"], "helpers": {"deny": ["get_numa_node_id"]},
		"quotas": {"map_bytes": 100000}}' >"$DIR/policy"
	cat >"$DIR/minds.c" <<'EOC'
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#define TRIES 2000
static volatile uint32_t *volatile place;
static volatile uint32_t good, bad;
static volatile int over;
static void *flip(void *arg)
{
	while (!over) {
		volatile uint32_t *where = place;
		if (where) {
			*where = bad;
			*where = good;
		}
	}
	return NULL;
}
static long bpf(int cmd, void *attr) { return syscall(SYS_bpf, cmd, attr, sizeof(union bpf_attr)); }
static union bpf_attr attr;
static struct bpf_insn insns[] = {
	{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_prandom_u32},
	{.code = BPF_JMP | BPF_EXIT},
};
static uint32_t info_word(long fd, int at)
{
	uint32_t info[64] = {0};
	union bpf_attr ask = {.info = {.bpf_fd = (uint32_t)fd, .info_len = sizeof(info), .info = (uintptr_t)info}};
	return bpf(BPF_OBJ_GET_INFO_BY_FD, &ask) ? ~0u : info[at];
}
/* The denied helper says 0 on the first node, the other one hardly ever does. */
static int is_denied_helper(long fd)
{
	static char packet[64];
	union bpf_attr ask = {.test = {.prog_fd = (uint32_t)fd, .data_in = (uintptr_t)packet, .data_size_in = sizeof(packet)}};
	return bpf(BPF_PROG_TEST_RUN, &ask) || ask.test.retval == 0;
}
/* Ones that were made must say at word @at of their information what was allowed; @at < 0: they are programs to run. */
static void run(const char *what, int cmd, volatile uint32_t *where, uint32_t yes, uint32_t no, int at)
{
	int made = 0, refused = 0, wrong = 0, other = 0;
	good = yes;
	bad = no;
	place = where;
	for (int i = 0; i < TRIES; i++) {
		long fd = bpf(cmd, &attr);
		if (fd < 0) {
			refused += errno == EPERM;
			other += errno != EPERM;
			continue;
		}
		made++;
		wrong += at >= 0 ? info_word(fd, at) != yes : is_denied_helper(fd);
		close((int)fd);
	}
	place = NULL;
	usleep(1000);
	*where = yes;
	printf("%s: made %s, refused %s, wrong %d, other errors %d\n", what, made ? "some" : "none",
	       refused ? "some" : "none", wrong, other);
}
int main(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, flip, NULL);
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 1;
	run("map type", BPF_MAP_CREATE, &attr.map_type, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, 0);
	run("map size", BPF_MAP_CREATE, &attr.max_entries, 1, 100000, 4);
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = sizeof(insns) / sizeof(*insns);
	attr.license = (uintptr_t)"GPL";
	run("program type", BPF_PROG_LOAD, &attr.prog_type, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_RAW_TRACEPOINT, 0);
	run("helper", BPF_PROG_LOAD, (volatile uint32_t *)&insns[0].imm, BPF_FUNC_get_prandom_u32, BPF_FUNC_get_numa_node_id, -1);
	return 0;
}
EOC
	gcc -O1 -pthread -o "$DIR/minds" "$DIR/minds.c"
	timeout 60 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- "$DIR/minds" >"$DIR/out" 2>/dev/null
	cat "$DIR/out"
	[ "$(grep -c ': made some, refused some, wrong 0, other errors 0' "$DIR/out")" -eq 4 ]
}
