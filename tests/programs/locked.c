/* SPDX-License-Identifier: MIT */
/*
 * Maps with locks in their values, as a tool uses them: BPF_F_LOCK in element commands, and
 *programs of several types that name such a map. Prints a line per call, the same wherever it runs.
 *
 * usage: locked		what the kernel answers, too
 *	  locked LEVELS		only BTF with structures in so many others: the kernel looks for
 *hours
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel-bridge/insn_build.h"
#include "tests/unit/btf_build.h"

#define LOCK_AT 4
#define SIZE	16

static struct btf_build build;
static uint32_t word, lock;
static char log_text[16384];

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static void show(const char *what, long result)
{
	printf("%s: %s\n", what, result >= 0 ? "ok" : strerrorname_np(errno));
}

static long load_btf(void)
{
	union bpf_attr attr = {.btf = (uintptr_t)&build.out, .btf_size = btf_finish(&build)};

	return bpf(BPF_BTF_LOAD, &attr);
}

static void begin(void)
{
	memset(&build, 0, sizeof(build));
	word = btf_int(&build, "int", 4);
	lock = btf_struct(&build, "bpf_spin_lock", 1, 4);
	btf_member(&build, word, 0);
}

static long make_map(long btf, uint32_t map_type, uint32_t value_type, uint32_t flags)
{
	union bpf_attr attr = {.map_type = map_type,
			       .key_size = 4,
			       .value_size = SIZE,
			       .max_entries = 4,
			       .map_flags = flags,
			       .btf_fd = (uint32_t)btf,
			       .btf_key_type_id = word,
			       .btf_value_type_id = value_type};

	return bpf(BPF_MAP_CREATE, &attr);
}

static void use(const char *name, long map)
{
	static const uint64_t flags[] = {0, BPF_F_LOCK, BPF_F_LOCK | BPF_EXIST, BPF_NOEXIST, 8};
	unsigned char value[SIZE];
	uint32_t key = 1;
	union bpf_attr attr = {
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)value};
	char what[64];

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		attr.flags = flags[i];
		memset(value, 0x30 + (int)i, sizeof(value));
		snprintf(what, sizeof(what), "%s: update with %#lx", name, flags[i]);
		show(what, bpf(BPF_MAP_UPDATE_ELEM, &attr));
		memset(value, 0xee, sizeof(value));
		snprintf(what, sizeof(what), "%s: lookup with %#lx", name, flags[i]);
		show(what, bpf(BPF_MAP_LOOKUP_ELEM, &attr));
		for (int k = 0; k < SIZE; k++)
			printf("%02x", value[k]);
		printf("\n");
	}
}

/* r0 = lookup(map, key 0) and out */
static void load(const char *name, uint32_t type, long map)
{
	const struct bpf_insn insns[] = {
		INSN_ST(BPF_W, BPF_REG_10, -4, 0),
		INSN_MOV64_REG(BPF_REG_2, BPF_REG_10),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_2, -4),
		INSN_LD_IMM64_SRC(BPF_REG_1, BPF_PSEUDO_MAP_FD, (uint32_t)map),
		INSN_CALL(BPF_FUNC_map_lookup_elem),
		INSN_MOV64_IMM(BPF_REG_0, 0),
		INSN_EXIT(),
	};
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = sizeof(insns) / sizeof(insns[0]),
			       .license = (uintptr_t) "GPL",
			       .log_level = 1,
			       .log_buf = (uintptr_t)log_text,
			       .log_size = sizeof(log_text)};
	long fd;

	log_text[0] = '\0';
	fd = bpf(BPF_PROG_LOAD, &attr);
	show(name, fd);
	if (fd < 0 && strstr(log_text, "cannot use"))
		printf("%.*s\n", (int)strcspn(log_text, "\n"), log_text);
}

static int compare(void)
{
	uint32_t locked, plain, timer, timed;
	long btf, map;

	begin();
	locked = btf_struct(&build, "locked", 3, SIZE);
	btf_member(&build, word, 0);
	btf_member(&build, lock, LOCK_AT);
	btf_member(&build, word, 8);
	plain = btf_struct(&build, "plain", 1, SIZE);
	btf_member(&build, word, 0);
	timer = btf_struct(&build, "bpf_timer", 0, 16);
	timed = btf_struct(&build, "timed", 1, SIZE);
	btf_member(&build, timer, 0);
	btf = load_btf();
	show("btf", btf);
	map = make_map(btf, BPF_MAP_TYPE_HASH, locked, 0);
	show("hash", map);
	use("hash", map);
	load("kprobe", BPF_PROG_TYPE_KPROBE, map);
	load("socket filter", BPF_PROG_TYPE_SOCKET_FILTER, map);
	map = make_map(btf, BPF_MAP_TYPE_ARRAY, locked, 0);
	show("array", map);
	use("array", map);
	load("kprobe", BPF_PROG_TYPE_KPROBE, map);
	map = make_map(btf, BPF_MAP_TYPE_HASH, plain, 0);
	use("without a lock", map);
	load("kprobe", BPF_PROG_TYPE_KPROBE, map);
	map = make_map(btf, BPF_MAP_TYPE_HASH, timed, 0);
	show("timers", map);
	load("kprobe", BPF_PROG_TYPE_KPROBE, map);
	show("queue", make_map(btf, BPF_MAP_TYPE_LRU_HASH, locked, 0));
	show("read only", make_map(btf, BPF_MAP_TYPE_HASH, locked, BPF_F_RDONLY_PROG));
	show("no such type", make_map(btf, BPF_MAP_TYPE_HASH, 77, 0));
	return 0;
}

static int nest(int levels)
{
	uint32_t type, next;

	begin();
	type = btf_struct(&build, "leaf", 0, 0);
	for (int i = 0; i < levels; i++) {
		next = btf_struct(&build, "node", 2, 0);
		btf_member(&build, type, 0);
		btf_member(&build, type, 0);
		type = next;
	}
	next = btf_struct(&build, "value", 2, SIZE);
	btf_member(&build, lock, 0);
	btf_member(&build, type, 4);
	show("btf", load_btf());
	return 0;
}

int main(int argc, char **argv)
{
	return argc > 1 ? nest(atoi(argv[1])) : compare();
}
