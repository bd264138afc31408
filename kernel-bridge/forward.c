/* SPDX-License-Identifier: MIT */
/*
 * The forwarder's program and its batches.
 *
 * The batch lies in an array map that we have mapped, so that handing it over costs nothing: a
 * table of events, then their bytes. The program walks the table and leaves each helper's result in
 * it.
 */
#include "kernel-bridge/forward.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bpf_abi.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"

#define BATCH	 64
#define DATA_MAX 0x8000 /* bytes of a batch's events; where one starts */

struct batch_event {
	uint32_t offset, size;
	uint64_t flags;
	int64_t result;
};
struct batch {
	uint32_t cnt, pad;
	struct batch_event events[BATCH];
	unsigned char data[DATA_MAX + FORWARD_EVENT_MAX];
};

struct forward {
	int map_fd, prog_fd;
	struct batch *batch;
	uint32_t cpu, used;
	uint64_t lost;
};

/* What BPF_PROG_TEST_RUN takes for programs that may be run on a CPU: include/uapi/linux/bpf.h. */
struct test_run {
	uint32_t prog_fd, retval, data_size_in, data_size_out;
	uint64_t data_in, data_out;
	uint32_t repeat, duration, ctx_size_in, ctx_size_out;
	uint64_t ctx_in, ctx_out;
	uint32_t flags, cpu, batch_size;
};

static int make_map(struct forward *forward)
{
	struct abi_map_create attr = {.map_type = BPF_MAP_TYPE_ARRAY,
				      .key_size = 4,
				      .value_size = sizeof(struct batch),
				      .max_entries = 1,
				      .map_flags = BPF_F_MMAPABLE,
				      .map_name = "bpfshim_batch"};
	void *batch;

	forward->map_fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (forward->map_fd < 0)
		return forward->map_fd;
	batch = mmap(NULL, sizeof(struct batch), PROT_READ | PROT_WRITE, MAP_SHARED,
		     forward->map_fd, 0);
	if (batch == MAP_FAILED)
		return -errno;
	forward->batch = batch;
	return 0;
}

#define EVENT_AT(field) (int)(offsetof(struct batch, events) + offsetof(struct batch_event, field))

/* r6 context, r7 batch, r8 number of the event, r9 the event. */
static int load_prog(struct forward *forward, int perf_map_fd)
{
	const struct bpf_insn insns[] = {
		/* 0 */ INSN_MOV64_REG(BPF_REG_6, BPF_REG_1),
		/* 1 */ INSN_LD_IMM64_SRC(BPF_REG_7, BPF_PSEUDO_MAP_VALUE, forward->map_fd),
		/* 3 */ INSN_MOV64_IMM(BPF_REG_8, 0),
		/* 4 */ INSN_JMP_IMM(BPF_JGE, BPF_REG_8, BATCH, 19),
		/* 5 */ INSN_LDX(BPF_W, BPF_REG_1, BPF_REG_7, offsetof(struct batch, cnt)),
		/* 6 */ INSN_JMP_REG(BPF_JGE, BPF_REG_8, BPF_REG_1, 17),
		/* 7 */ INSN_MOV64_REG(BPF_REG_9, BPF_REG_8),
		/* 8 */ INSN_ALU64_IMM(BPF_MUL, BPF_REG_9, sizeof(struct batch_event)),
		/* 9 */ INSN_ALU64_REG(BPF_ADD, BPF_REG_9, BPF_REG_7),
		/* 10 */ INSN_LDX(BPF_W, BPF_REG_4, BPF_REG_9, EVENT_AT(offset)),
		/* 11 */ INSN_JMP_IMM(BPF_JGE, BPF_REG_4, DATA_MAX, 12),
		/* 12 */ INSN_LDX(BPF_W, BPF_REG_5, BPF_REG_9, EVENT_AT(size)),
		/* 13 */ INSN_JMP_IMM(BPF_JGT, BPF_REG_5, FORWARD_EVENT_MAX, 10),
		/* 14 */ INSN_ALU64_REG(BPF_ADD, BPF_REG_4, BPF_REG_7),
		/* 15 */ INSN_ALU64_IMM(BPF_ADD, BPF_REG_4, offsetof(struct batch, data)),
		/* 16 */ INSN_MOV64_REG(BPF_REG_1, BPF_REG_6),
		/* 17 */ INSN_LDX(BPF_DW, BPF_REG_3, BPF_REG_9, EVENT_AT(flags)),
		/* 18 */ INSN_LD_IMM64_SRC(BPF_REG_2, BPF_PSEUDO_MAP_FD, perf_map_fd),
		/* 20 */ INSN_CALL(BPF_FUNC_perf_event_output),
		/* 21 */ INSN_STX(BPF_DW, BPF_REG_9, BPF_REG_0, EVENT_AT(result)),
		/* 22 */ INSN_ALU64_IMM(BPF_ADD, BPF_REG_8, 1),
		/* 23 */ INSN_JA(-20),
		/* 24 */ INSN_MOV64_IMM(BPF_REG_0, 0),
		/* 25 */ INSN_EXIT(),
	};
	struct abi_prog_load attr = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
				     .insn_cnt = ARRAY_SIZE(insns),
				     .insns = (uintptr_t)insns,
				     .license = (uintptr_t) "GPL",
				     .prog_name = "bpfshim_forward"};

	forward->prog_fd =
		sys_bpf(BPF_PROG_LOAD, &attr, offsetof(struct abi_prog_load, prog_btf_fd));
	return forward->prog_fd < 0 ? forward->prog_fd : 0;
}

int forward_new(int perf_map_fd, struct forward **ret_forward)
{
	struct forward *forward = malloc(sizeof(*forward));
	int r;

	if (!forward)
		return -ENOMEM;
	*forward = (struct forward){.map_fd = -1, .prog_fd = -1};
	r = make_map(forward);
	if (r == 0)
		r = load_prog(forward, perf_map_fd);
	if (r < 0) {
		forward_free(forward);
		return r;
	}
	*ret_forward = forward;
	return 0;
}

struct forward *forward_free(struct forward *forward)
{
	if (!forward)
		return NULL;
	if (forward->batch)
		munmap(forward->batch, sizeof(*forward->batch));
	close_fd(forward->map_fd);
	close_fd(forward->prog_fd);
	free(forward);
	return NULL;
}

int forward_flush(struct forward *forward)
{
	struct test_run attr = {.prog_fd = (uint32_t)forward->prog_fd,
				.flags = BPF_F_TEST_RUN_ON_CPU,
				.cpu = forward->cpu};
	struct batch *batch = forward->batch;
	uint32_t cnt = batch->cnt;
	int r;

	if (!cnt)
		return 0;
	r = sys_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	for (uint32_t i = 0; i < cnt; i++)
		forward->lost += r < 0 || batch->events[i].result < 0;
	batch->cnt = 0;
	forward->used = 0;
	return r < 0 ? r : 0;
}

int forward_output(struct forward *forward, uint32_t cpu, uint64_t flags, const void *data,
		   uint32_t size)
{
	struct batch *batch = forward->batch;
	struct batch_event *event;
	int r = 0;

	if (size > FORWARD_EVENT_MAX)
		return -E2BIG;
	if (batch->cnt == BATCH || forward->used >= DATA_MAX || (batch->cnt && forward->cpu != cpu))
		r = forward_flush(forward);
	forward->cpu = cpu;
	event = &batch->events[batch->cnt];
	*event = (struct batch_event){.offset = forward->used, .size = size, .flags = flags};
	memcpy(batch->data + forward->used, data, size);
	/* Aligned: programs of tools read their events as structs. */
	forward->used += (size + 7) & ~7u;
	batch->cnt++;
	return r;
}

uint64_t forward_lost(const struct forward *forward)
{
	return forward->lost;
}
