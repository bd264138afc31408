/* SPDX-License-Identifier: MIT */
/*
 * Loads small programs, good and bad, with every kind of log buffer, and prints verdict and log, so
 * that what a tool reads can be compared with the kernel's (tests/e2e/hostile.bats).
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INSN(op, dst, src, o, i)                                                                   \
	((struct bpf_insn){.code = op, .dst_reg = dst, .src_reg = src, .off = o, .imm = i})
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

struct program {
	const char *name;
	uint32_t type, cnt;
	struct bpf_insn insns[8];
};

static const struct program programs[] = {
	{"accepted", BPF_PROG_TYPE_KPROBE, 2, {INSN(BPF_ALU64 | BPF_MOV, 0, 0, 0, 0), EXIT}},
	{"asks for its pid",
	 BPF_PROG_TYPE_KPROBE,
	 2,
	 {INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 14), EXIT}},
	{"no return value", BPF_PROG_TYPE_KPROBE, 1, {EXIT}},
	{"reads what it never set",
	 BPF_PROG_TYPE_TRACEPOINT,
	 2,
	 {INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, 5, 0, 0), EXIT}},
	{"falls off the end", BPF_PROG_TYPE_KPROBE, 1, {INSN(BPF_ALU64 | BPF_MOV, 0, 0, 0, 0)}},
	{"jumps out", BPF_PROG_TYPE_KPROBE, 2, {INSN(BPF_JMP | BPF_JA, 0, 0, 100, 0), EXIT}},
	{"half an ld_imm64",
	 BPF_PROG_TYPE_KPROBE,
	 1,
	 {INSN(BPF_LD | BPF_IMM | BPF_DW, 0, 0, 0, 0)}},
	{"no such map",
	 BPF_PROG_TYPE_KPROBE,
	 3,
	 {INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 9999), INSN(0, 0, 0, 0, 0),
	  EXIT}},
	{"no such helper",
	 BPF_PROG_TYPE_KPROBE,
	 2,
	 {INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 9999), EXIT}},
	{"helper of another type",
	 BPF_PROG_TYPE_SOCKET_FILTER,
	 2,
	 {INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 25), EXIT}},
	{"loops for ever", BPF_PROG_TYPE_KPROBE, 2, {INSN(BPF_JMP | BPF_JA, 0, 0, -1, 0), EXIT}},
	{"stack too deep",
	 BPF_PROG_TYPE_KPROBE,
	 2,
	 {INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -520, 0), EXIT}},
	{"unknown opcode", BPF_PROG_TYPE_KPROBE, 2, {INSN(0xff, 0, 0, 0, 0), EXIT}},
};

static void load(const struct program *program, uint32_t level, uint32_t size)
{
	static char log[65536];
	union bpf_attr attr;
	long fd;

	memset(&attr, 0, sizeof(attr));
	memset(log, 0, sizeof(log));
	attr.prog_type = program->type;
	attr.insn_cnt = program->cnt;
	attr.insns = (uintptr_t)program->insns;
	attr.license = (uintptr_t) "GPL";
	attr.log_level = level;
	attr.log_buf = size ? (uintptr_t)log : 0;
	attr.log_size = size;
	errno = 0;
	fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	printf("-- %s, level %u, %u bytes: %s\n%s\n", program->name, level, size,
	       fd >= 0 ? "ok" : strerrorname_np(errno), log);
	if (fd >= 0)
		close((int)fd);
}

int main(void)
{
	static const struct {
		uint32_t level, size;
	} logs[] = {{0, 0},  {1, 65536}, {2, 65536}, {4, 65536}, {7, 65536},
		    {1, 16}, {2, 128},	 {0, 64},    {1, 0},	 {16, 64}};

	for (size_t p = 0; p < sizeof(programs) / sizeof(*programs); p++)
		for (size_t l = 0; l < sizeof(logs) / sizeof(*logs); l++)
			load(&programs[p], logs[l].level, logs[l].size);
	return 0;
}
