/* SPDX-License-Identifier: MIT */
/*
 * The program that writes into ring buffers, and its batches; see ringbuf.h, and forward.c for the
 * way records are handed over. Called by whoever drains the event rings.
 */
#include "kernel-bridge/ringbuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bpf_abi.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"

#define PAGE 4096u

/* Offsets and sizes are bounded by a mask, and there is room for the largest of both, so that the
 * verifier need not follow branches. */
#define MASK_16	  0xffff
#define DATA_ROOM (RINGBUF_BATCH_BYTES + MASK_16)
static_assert(RINGBUF_EVENT_MAX <= MASK_16 && RINGBUF_BATCH_BYTES - 1 <= MASK_16, "16 bits");

struct record {
	uint32_t offset; /* into batch.data */
	uint32_t size;
	uint64_t flags;
	int64_t result;
};

/* The value of the map that the program and we have in common. */
struct batch {
	uint64_t cnt;
	struct record records[RINGBUF_BATCH_EVENTS];
	unsigned char data[DATA_ROOM];
};

struct ringbuf {
	int prog_fd;
	uint32_t size;		  /* of the ring */
	uint32_t used;		  /* bytes of batch->data */
	uint64_t queued;	  /* bytes of the ring */
	struct batch *batch;	  /* mapped */
	const uint64_t *producer; /* mapped: the kernel's page with its position */
	struct ringbuf_counts counts;
};

static int create_map(void)
{
	struct abi_map_create attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = sizeof(uint32_t),
		.value_size = sizeof(struct batch),
		.max_entries = 1,
		.map_flags = BPF_F_MMAPABLE,
		.map_name = "bpfshim_records",
	};

	return sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

/* r7: the batch, r8: next record, r9: records done, which is the result. */
static int load_prog(int ring_fd, int batch_fd)
{
	const int32_t records = offsetof(struct batch, records);
	const int32_t data = offsetof(struct batch, data);
	const struct bpf_insn insns[] = {
		INSN_LD_IMM64_SRC(BPF_REG_7, BPF_PSEUDO_MAP_VALUE, (uint32_t)batch_fd),
		INSN_MOV64_REG(BPF_REG_8, BPF_REG_7),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_8, records),
		INSN_MOV64_IMM(BPF_REG_9, 0),
		/* loop: */
		INSN_LDX(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct batch, cnt)),
		INSN_JMP_REG(BPF_JGE, BPF_REG_9, BPF_REG_1, 16),
		INSN_LDX(BPF_W, BPF_REG_1, BPF_REG_8, offsetof(struct record, offset)),
		INSN_ALU64_IMM(BPF_AND, BPF_REG_1, MASK_16),
		INSN_MOV64_REG(BPF_REG_2, BPF_REG_7),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_2, data),
		INSN_ALU64_REG(BPF_ADD, BPF_REG_2, BPF_REG_1),
		INSN_LDX(BPF_W, BPF_REG_3, BPF_REG_8, offsetof(struct record, size)),
		INSN_ALU64_IMM(BPF_AND, BPF_REG_3, MASK_16),
		INSN_LDX(BPF_DW, BPF_REG_4, BPF_REG_8, offsetof(struct record, flags)),
		INSN_LD_IMM64_SRC(BPF_REG_1, BPF_PSEUDO_MAP_FD, (uint32_t)ring_fd),
		INSN_CALL(BPF_FUNC_ringbuf_output),
		INSN_STX(BPF_DW, BPF_REG_8, BPF_REG_0, offsetof(struct record, result)),
		INSN_JMP_IMM(BPF_JEQ, BPF_REG_0, -EAGAIN, 3),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_8, sizeof(struct record)),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_9, 1),
		INSN_JMP_IMM(BPF_JLT, BPF_REG_9, RINGBUF_BATCH_EVENTS, -18),
		/* out: */
		INSN_MOV64_REG(BPF_REG_0, BPF_REG_9),
		INSN_EXIT(),
	};
	struct abi_prog_load attr = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insn_cnt = ARRAY_SIZE(insns),
		.insns = (uintptr_t)insns,
		.license = (uintptr_t) "Dual MIT/GPL",
		.prog_name = "bpfshim_ringbuf",
	};

	return sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* The second page of the map's file. Source: ringbuf_map_mmap_kern(), Linux 6.18. */
static int map_memory(struct ringbuf *ringbuf, int ring_fd, int batch_fd)
{
	void *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ring_fd, PAGE);

	if (at == MAP_FAILED)
		return -errno;
	ringbuf->producer = at;
	at = mmap(NULL, sizeof(struct batch), PROT_READ | PROT_WRITE, MAP_SHARED, batch_fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	ringbuf->batch = at;
	/* Maps live as long as anybody has them mapped: children that outlive the tool shall not. */
	madvise((void *)ringbuf->producer, PAGE, MADV_DONTFORK);
	madvise(ringbuf->batch, sizeof(struct batch), MADV_DONTFORK);
	return 0;
}

int ringbuf_new(int map_fd, uint32_t size, struct ringbuf **ret_ringbuf)
{
	struct ringbuf *ringbuf = calloc(1, sizeof(*ringbuf));
	cleanup_fd int batch_fd = -1;
	int r;

	if (!ringbuf)
		return -ENOMEM;
	ringbuf->size = size;
	batch_fd = create_map();
	r = ringbuf->prog_fd = batch_fd < 0 ? batch_fd : load_prog(map_fd, batch_fd);
	if (r >= 0)
		r = map_memory(ringbuf, map_fd, batch_fd);
	if (r < 0) {
		ringbuf_free(ringbuf);
		return r;
	}
	*ret_ringbuf = ringbuf;
	return 0;
}

struct ringbuf *ringbuf_free(struct ringbuf *ringbuf)
{
	if (!ringbuf)
		return NULL;
	if (ringbuf->producer)
		munmap((void *)ringbuf->producer, PAGE);
	if (ringbuf->batch)
		munmap(ringbuf->batch, sizeof(struct batch));
	close_fd(ringbuf->prog_fd);
	free(ringbuf);
	return NULL;
}

/* Bytes of the ring that a record takes: its header of BPF_RINGBUF_HDR_SZ, and all rounded up. */
static uint64_t need(uint32_t size)
{
	return (size + BPF_RINGBUF_HDR_SZ + 7ull) & ~7ull;
}

/* The first @done are not queued any more. */
static void remove_done(struct ringbuf *ringbuf, uint32_t done)
{
	struct batch *batch = ringbuf->batch;

	for (uint32_t i = 0; i < done; i++) {
		if (batch->records[i].result == 0)
			ringbuf->counts.sent++;
		else
			ringbuf->counts.failed++;
		ringbuf->queued -= need(batch->records[i].size);
	}
	batch->cnt -= done;
	memmove(batch->records, batch->records + done, batch->cnt * sizeof(batch->records[0]));
	/* The room of their bytes is used again when no others are left behind them. */
	if (!batch->cnt)
		ringbuf->used = 0;
}

int ringbuf_flush(struct ringbuf *ringbuf)
{
	struct batch *batch = ringbuf->batch;
	union bpf_attr attr = {.test.prog_fd = (uint32_t)ringbuf->prog_fd};
	int r;

	if (!batch->cnt)
		return 0;
	r = sys_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	if (r < 0)
		return r;
	remove_done(ringbuf,
		    attr.test.retval < batch->cnt ? attr.test.retval : (uint32_t)batch->cnt);
	if (!batch->cnt)
		return 0;
	ringbuf->counts.full++;
	return -EAGAIN;
}

int ringbuf_output(struct ringbuf *ringbuf, uint64_t flags, const void *data, uint32_t size)
{
	struct batch *batch = ringbuf->batch;
	int r;

	/* One byte is always left free: a full ring and an empty one would be the same. */
	if (size > RINGBUF_EVENT_MAX || need(size) >= ringbuf->size)
		return -E2BIG;
	if (batch->cnt == RINGBUF_BATCH_EVENTS || ringbuf->used + size > RINGBUF_BATCH_BYTES) {
		r = ringbuf_flush(ringbuf);
		if (r < 0)
			return r;
	}
	batch->records[batch->cnt] =
		(struct record){.offset = ringbuf->used, .size = size, .flags = flags};
	if (size)
		memcpy(batch->data + ringbuf->used, data, size);
	ringbuf->used += size;
	ringbuf->queued += need(size);
	batch->cnt++;
	return 0;
}

uint64_t ringbuf_queued(const struct ringbuf *ringbuf)
{
	return ringbuf->queued;
}

uint64_t ringbuf_position(const struct ringbuf *ringbuf)
{
	return __atomic_load_n(ringbuf->producer, __ATOMIC_ACQUIRE);
}

const struct ringbuf_counts *ringbuf_counts(const struct ringbuf *ringbuf)
{
	return &ringbuf->counts;
}
