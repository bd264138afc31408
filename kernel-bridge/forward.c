/* SPDX-License-Identifier: MIT */
/*
 * The forwarding program and its batches; see forward.h. Called by whoever drains the event rings.
 *
 * Events are handed over in the value of an array map that both sides have: mapped here, so that
 * queueing takes no system call, and named by the program as a constant. The program runs on demand
 * (BPF_PROG_TEST_RUN) as a raw tracepoint, which is the type that may be told its CPU.
 */
#include "kernel-bridge/forward.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/bpf_abi.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"

/*
 * The program bounds offset and size with a mask, as any 16-bit number, so that the verifier need
 * not follow branches; the room behind the bytes keeps the largest of both inside of the value.
 */
#define MASK_16	  0xffff
#define DATA_ROOM (FORWARD_BATCH_BYTES + MASK_16)
static_assert(FORWARD_EVENT_MAX <= MASK_16 && FORWARD_BATCH_BYTES - 1 <= MASK_16, "16 bits");

/* Fewer events than this are not worth a move to another CPU. */
#define AWAY_MIN 4u

struct record {
	uint32_t offset; /* into batch.data */
	uint32_t size;
	uint64_t flags;
	int64_t result;
};

/* Lost by one run, with interrupts off. */
#define LOSE_MAX 1024u

/* The value of the map: if @lose is not 0 a run loses so many events, instead of what is queued. */
struct batch {
	uint64_t cnt, lose;
	struct record records[FORWARD_BATCH_EVENTS];
	unsigned char data[DATA_ROOM];
};

struct forward {
	int prog_fd;
	struct batch *batch; /* mapped */
	uint32_t cpu;	     /* of the events in the batch */
	uint32_t used;	     /* bytes of batch->data */
	int32_t results[FORWARD_BATCH_EVENTS];
	uint32_t result_cnt;
	struct forward_counts counts;
};

static int create_map(void)
{
	struct abi_map_create attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = sizeof(uint32_t),
		.value_size = sizeof(struct batch),
		.max_entries = 1,
		.map_flags = BPF_F_MMAPABLE,
		.map_name = "bpfshim_events",
	};

	return sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

/*
 * r6: context, r7: the batch, r8: next record, r9: events left. The verifier walks every turn of
 * the loops: r8 or r9 differ in each, and the end of the records, or LOSE_MAX, bounds them.
 */
static int load_prog(int perf_map_fd, int batch_fd)
{
	const int32_t records = offsetof(struct batch, records);
	const int32_t data = offsetof(struct batch, data);
	const struct bpf_insn insns[] = {
		INSN_MOV64_REG(BPF_REG_6, BPF_REG_1),
		INSN_LD_IMM64_SRC(BPF_REG_7, BPF_PSEUDO_MAP_VALUE, (uint32_t)batch_fd),
		INSN_MOV64_REG(BPF_REG_8, BPF_REG_7),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_8, records),
		INSN_MOV64_IMM(BPF_REG_9, 0),
		INSN_LDX(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct batch, lose)),
		INSN_JMP_IMM(BPF_JNE, BPF_REG_1, 0, 20),
		/* loop: */
		INSN_LDX(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct batch, cnt)),
		INSN_JMP_REG(BPF_JGE, BPF_REG_9, BPF_REG_1, 16),
		INSN_LDX(BPF_W, BPF_REG_1, BPF_REG_8, offsetof(struct record, offset)),
		INSN_ALU64_IMM(BPF_AND, BPF_REG_1, MASK_16),
		INSN_MOV64_REG(BPF_REG_4, BPF_REG_7),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_4, data),
		INSN_ALU64_REG(BPF_ADD, BPF_REG_4, BPF_REG_1),
		INSN_LDX(BPF_W, BPF_REG_5, BPF_REG_8, offsetof(struct record, size)),
		INSN_ALU64_IMM(BPF_AND, BPF_REG_5, MASK_16),
		INSN_LDX(BPF_DW, BPF_REG_3, BPF_REG_8, offsetof(struct record, flags)),
		INSN_LD_IMM64_SRC(BPF_REG_2, BPF_PSEUDO_MAP_FD, (uint32_t)perf_map_fd),
		INSN_MOV64_REG(BPF_REG_1, BPF_REG_6),
		INSN_CALL(BPF_FUNC_perf_event_output),
		INSN_STX(BPF_DW, BPF_REG_8, BPF_REG_0, offsetof(struct record, result)),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_8, sizeof(struct record)),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_9, 1),
		INSN_JMP_IMM(BPF_JLT, BPF_REG_9, FORWARD_BATCH_EVENTS, -18),
		INSN_MOV64_REG(BPF_REG_0, BPF_REG_9),
		INSN_EXIT(),
		/* lose: */
		INSN_LDX(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct batch, lose)),
		INSN_JMP_REG(BPF_JGE, BPF_REG_9, BPF_REG_1, -4),
		INSN_MOV64_REG(BPF_REG_4, BPF_REG_7),
		INSN_MOV64_IMM(BPF_REG_5, 0),
		INSN_ALU32_IMM(BPF_MOV, BPF_REG_3, -1), /* BPF_F_CURRENT_CPU */
		INSN_LD_IMM64_SRC(BPF_REG_2, BPF_PSEUDO_MAP_FD, (uint32_t)perf_map_fd),
		INSN_MOV64_REG(BPF_REG_1, BPF_REG_6),
		INSN_CALL(BPF_FUNC_perf_event_output),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_9, 1),
		INSN_JMP_IMM(BPF_JLT, BPF_REG_9, LOSE_MAX, -11),
		INSN_JA(-14),
	};
	struct abi_prog_load attr = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insn_cnt = ARRAY_SIZE(insns),
		.insns = (uintptr_t)insns,
		.license = (uintptr_t) "Dual MIT/GPL",
		.prog_name = "bpfshim_forward",
	};

	return sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

int forward_new(int perf_map_fd, struct forward **ret_forward)
{
	cleanup_free struct forward *forward = calloc(1, sizeof(*forward));
	cleanup_fd int batch_fd = -1;
	void *batch;

	if (!forward)
		return -ENOMEM;
	batch_fd = create_map();
	if (batch_fd < 0)
		return batch_fd;
	forward->prog_fd = load_prog(perf_map_fd, batch_fd);
	if (forward->prog_fd < 0)
		return forward->prog_fd;
	batch = mmap(NULL, sizeof(struct batch), PROT_READ | PROT_WRITE, MAP_SHARED, batch_fd, 0);
	if (batch == MAP_FAILED) {
		int r = -errno;

		close_fd(forward->prog_fd);
		return r;
	}
	/* A map lives as long as anybody has it mapped: children that outlive the tool shall not. */
	madvise(batch, sizeof(struct batch), MADV_DONTFORK);
	forward->batch = batch;
	*ret_forward = take_ptr(&forward);
	return 0;
}

struct forward *forward_free(struct forward *forward)
{
	if (!forward)
		return NULL;
	munmap(forward->batch, sizeof(struct batch));
	close_fd(forward->prog_fd);
	free(forward);
	return NULL;
}

/* Runs the program on a CPU; how many events it came to. */
static int run(const struct forward *forward, uint32_t cpu, uint32_t *ret_done)
{
	union bpf_attr attr = {
		.test.prog_fd = (uint32_t)forward->prog_fd,
		.test.flags = BPF_F_TEST_RUN_ON_CPU,
		.test.cpu = cpu,
	};
	int r = sys_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));

	*ret_done = r < 0 ? 0 : attr.test.retval;
	return r;
}

/*
 * The same, from another CPU if there is one. Every event may wake a reader, which the kernel does
 * by an interrupt to its own CPU. In a program that came here by an interrupt itself they fall
 * together into one at its end; in one that runs in our own call each is taken at once (measured:
 * 10 us an event in a virtual machine, against 0.35 us).
 */
static int run_away(const struct forward *forward, uint32_t *ret_done)
{
	cpu_set_t allowed, away;
	bool moved = false;
	int r;

	if (forward->batch->cnt >= AWAY_MIN && sched_getcpu() == (int)forward->cpu &&
	    sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
		away = allowed;
		CPU_CLR(forward->cpu, &away);
		/* Fails when no other CPU is left to us, or the cpuset says otherwise. */
		moved = sched_setaffinity(0, sizeof(away), &away) == 0;
	}
	r = run(forward, forward->cpu, ret_done);
	if (moved)
		sched_setaffinity(0, sizeof(allowed), &allowed);
	return r;
}

static void count(struct forward *forward, int32_t result)
{
	struct forward_counts *counts = &forward->counts;

	switch (result) {
	case 0:
		counts->sent++;
		break;
	case -ENOSPC:
		counts->full++;
		break;
	case -ENOENT:
	case -E2BIG:
		counts->absent++;
		break;
	case -EOPNOTSUPP:
		counts->elsewhere++;
		break;
	case -ENXIO:
		counts->offline++;
		break;
	default:
		counts->failed++;
		break;
	}
}

int forward_flush(struct forward *forward)
{
	struct batch *batch = forward->batch;
	uint32_t cnt = (uint32_t)batch->cnt, done;
	int r;

	forward->result_cnt = 0;
	if (cnt == 0)
		return 0;
	r = run_away(forward, &done);
	for (uint32_t i = 0; i < cnt; i++) {
		int32_t missed = r < 0 ? r : -EIO;

		forward->results[i] = i < done ? (int32_t)batch->records[i].result : missed;
		count(forward, forward->results[i]);
	}
	forward->result_cnt = cnt;
	batch->cnt = 0;
	forward->used = 0;
	return r < 0 ? r : 0;
}

int forward_output(struct forward *forward, uint32_t cpu, uint64_t flags, const void *data,
		   uint32_t size)
{
	struct batch *batch = forward->batch;
	struct record *record;
	int r = 0;

	if (size > FORWARD_EVENT_MAX)
		return -E2BIG;
	if (cpu != forward->cpu || batch->cnt == FORWARD_BATCH_EVENTS ||
	    forward->used + size > FORWARD_BATCH_BYTES)
		r = forward_flush(forward);
	forward->cpu = cpu;
	record = &batch->records[batch->cnt];
	record->offset = forward->used;
	record->size = size;
	record->flags = flags;
	if (size)
		memcpy(batch->data + forward->used, data, size);
	forward->used += size;
	batch->cnt++;
	return r;
}

int forward_lose(struct forward *forward, uint32_t cpu, int event_fd, uint32_t cnt)
{
	struct batch *batch = forward->batch;
	uint32_t done;
	int r = 0;

	if (ioctl(event_fd, PERF_EVENT_IOC_PAUSE_OUTPUT, 1) < 0)
		return -errno;
	while (cnt && r == 0) {
		batch->lose = cnt < LOSE_MAX ? cnt : LOSE_MAX;
		cnt -= (uint32_t)batch->lose;
		r = run(forward, cpu, &done);
	}
	batch->lose = 0;
	if (ioctl(event_fd, PERF_EVENT_IOC_PAUSE_OUTPUT, 0) < 0 && r == 0)
		r = -errno;
	return r;
}

uint32_t forward_results(const struct forward *forward, const int32_t **ret_results)
{
	*ret_results = forward->results;
	return forward->result_cnt;
}

const struct forward_counts *forward_counts(const struct forward *forward)
{
	return &forward->counts;
}

uint64_t forward_lost(const struct forward *forward)
{
	const struct forward_counts *counts = &forward->counts;

	return counts->full + counts->absent + counts->elsewhere + counts->offline + counts->failed;
}
