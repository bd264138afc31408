/* SPDX-License-Identifier: MIT */
/*
 * Forward dataflow that follows where the context pointer may be. Called on PROG_LOAD of
 * PERF_EVENT programs. Must never answer true in doubt: the program would see foreign tasks.
 *
 * The verifier lets a program read the context only through a register that provably holds it, so
 * over-approximating the registers and stack slots that may hold it suffices. Facts only ever
 * grow at an instruction (at most 88 bits), which bounds the work.
 */
#include "kernel-bridge/taskfree.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "kernel-bridge/insns.h"

#define REG_BIT(r)   ((uint16_t)(1u << (r)))
#define SCRATCH_REGS ((uint16_t)0x3f) /* r0 to r5 */
#define REGS	     11
#define STACK_SIZE   512
#define SLOT_SIZE    8

/* Source: include/uapi/linux/bpf.h, Linux 6.15; not in Debian 12's header. */
#ifndef BPF_LOAD_ACQ
#define BPF_LOAD_ACQ  0x100
#define BPF_STORE_REL 0x110
#endif

/**
 * struct state - what may be where, before an instruction
 * @ctx_regs: registers that may hold the context or something computed from it
 * @fp_regs: registers that may point into the stack
 * @ctx_slots: stack slots that may hold the context; bit 0 is [r10-8, r10)
 * @ctx_stored: the context may have gone to a slot we do not know
 */
struct state {
	uint64_t ctx_slots;
	uint16_t ctx_regs;
	uint16_t fp_regs;
	bool ctx_stored;
	bool reached;
};

struct flow {
	const struct bpf_insn *insns;
	uint32_t cnt;
	struct state *states;
	uint32_t *work; /* stack of instructions to look at; each at most once */
	bool *queued;
	uint32_t work_cnt;
};

/*
 * Helpers that read nothing of the current task, with the number of arguments they take: stale
 * registers beyond those are not looked at by the kernel. Helpers with callbacks, tail calls and
 * those that follow kernel pointers (trace_printk, snprintf) are absent on purpose.
 */
static const struct {
	uint16_t id;
	uint8_t args;
	bool takes_ctx; /* r1 is the context, of which the helper reveals nothing */
} allowed[] = {
	{BPF_FUNC_map_lookup_elem, 2, false},	  {BPF_FUNC_map_update_elem, 4, false},
	{BPF_FUNC_map_delete_elem, 2, false},	  {BPF_FUNC_ktime_get_ns, 0, false},
	{BPF_FUNC_get_prandom_u32, 0, false},	  {BPF_FUNC_get_smp_processor_id, 0, false},
	{BPF_FUNC_perf_event_output, 5, true},	  {BPF_FUNC_get_numa_node_id, 0, false},
	{BPF_FUNC_map_push_elem, 3, false},	  {BPF_FUNC_map_pop_elem, 2, false},
	{BPF_FUNC_map_peek_elem, 2, false},	  {BPF_FUNC_jiffies64, 0, false},
	{BPF_FUNC_ktime_get_boot_ns, 0, false},	  {BPF_FUNC_ringbuf_output, 4, false},
	{BPF_FUNC_ringbuf_reserve, 3, false},	  {BPF_FUNC_ringbuf_submit, 2, false},
	{BPF_FUNC_ringbuf_discard, 2, false},	  {BPF_FUNC_ringbuf_query, 2, false},
	{BPF_FUNC_ktime_get_coarse_ns, 0, false}, {BPF_FUNC_map_lookup_percpu_elem, 3, false},
	{BPF_FUNC_ktime_get_tai_ns, 0, false},
};

static void set_bit16(uint16_t *mask, unsigned int reg, bool value)
{
	if (value)
		*mask |= REG_BIT(reg);
	else
		*mask &= (uint16_t)~REG_BIT(reg);
}

static bool has_ctx(const struct state *s, unsigned int reg)
{
	return s->ctx_regs & REG_BIT(reg);
}

static bool has_fp(const struct state *s, unsigned int reg)
{
	return reg == BPF_REG_10 || s->fp_regs & REG_BIT(reg);
}

static bool stack_has_ctx(const struct state *s)
{
	return s->ctx_slots || s->ctx_stored;
}

static int access_size(const struct bpf_insn *insn)
{
	switch (BPF_SIZE(insn->code)) {
	case BPF_B:
		return 1;
	case BPF_H:
		return 2;
	case BPF_W:
		return 4;
	default:
		return 8;
	}
}

/* Slots touched by @size bytes at r10 + @off; false when not all of them are in the stack. */
static bool slots_of(int off, int size, uint64_t *ret_slots)
{
	uint64_t slots = 0;

	if (off < -STACK_SIZE || off + size > 0)
		return false;
	for (int i = off; i < off + size; i++)
		slots |= 1ULL << ((-i - 1) / SLOT_SIZE);
	*ret_slots = slots;
	return true;
}

static bool step_alu(struct state *s, const struct bpf_insn *insn)
{
	bool ctx = false, fp = false;
	uint8_t op = BPF_OP(insn->code);

	if (insn->dst_reg >= BPF_REG_10)
		return false;
	/* In byte swaps the source bit means the byte order, and there is no source register. */
	if (BPF_SRC(insn->code) == BPF_X && op != BPF_END) {
		ctx = has_ctx(s, insn->src_reg);
		fp = has_fp(s, insn->src_reg);
	}
	if (op != BPF_MOV) {
		ctx |= has_ctx(s, insn->dst_reg);
		fp |= has_fp(s, insn->dst_reg);
	}
	set_bit16(&s->ctx_regs, insn->dst_reg, ctx);
	set_bit16(&s->fp_regs, insn->dst_reg, fp);
	return true;
}

static bool step_ld(struct state *s, const struct bpf_insn *insn)
{
	if (!insn_is_ld_imm64(insn) || insn->dst_reg >= BPF_REG_10)
		return false;
	switch (insn->src_reg) {
	case 0:
	case BPF_PSEUDO_MAP_FD:
	case BPF_PSEUDO_MAP_VALUE:
	case BPF_PSEUDO_MAP_IDX:
	case BPF_PSEUDO_MAP_IDX_VALUE:
		set_bit16(&s->ctx_regs, insn->dst_reg, false);
		set_bit16(&s->fp_regs, insn->dst_reg, false);
		return true;
	default:
		/* BPF_PSEUDO_BTF_ID gives kernel variables: init_task leads to every task. */
		return false;
	}
}

/* Whether @size bytes read through @reg + @off may be the context. */
static bool load_gives_ctx(const struct state *s, unsigned int reg, int off, int size)
{
	uint64_t slots;

	if (!has_fp(s, reg))
		return false;
	if (reg != BPF_REG_10 || !slots_of(off, size, &slots))
		return stack_has_ctx(s);
	return s->ctx_stored || s->ctx_slots & slots;
}

static bool step_ldx(struct state *s, const struct bpf_insn *insn)
{
	uint8_t mode = BPF_MODE(insn->code);
	bool ctx, fp;

	if ((mode != BPF_MEM && mode != 0x80 /* BPF_MEMSX */) || insn->dst_reg >= BPF_REG_10)
		return false;
	if (has_ctx(s, insn->src_reg))
		return false;
	ctx = load_gives_ctx(s, insn->src_reg, insn->off, access_size(insn));
	/* A spilled stack pointer comes back from the stack only. */
	fp = has_fp(s, insn->src_reg);
	set_bit16(&s->ctx_regs, insn->dst_reg, ctx);
	set_bit16(&s->fp_regs, insn->dst_reg, fp);
	return true;
}

/* A store of something that is, or is not, possibly the context. */
static bool store(struct state *s, const struct bpf_insn *insn, bool ctx)
{
	int size = access_size(insn);
	uint64_t slots;

	if (has_ctx(s, insn->dst_reg))
		return false;
	if (!has_fp(s, insn->dst_reg))
		return !ctx; /* the context leaves for a map: we lose sight of it */
	if (insn->dst_reg != BPF_REG_10 || !slots_of(insn->off, size, &slots)) {
		s->ctx_stored |= ctx;
		return true;
	}
	if (ctx)
		s->ctx_slots |= slots;
	else if (size == SLOT_SIZE && insn->off % SLOT_SIZE == 0)
		s->ctx_slots &= ~slots;
	return true;
}

static bool step_atomic(struct state *s, const struct bpf_insn *insn)
{
	/* Loads and stores with other operand roles: not worth following. */
	if (insn->imm == BPF_LOAD_ACQ || insn->imm == BPF_STORE_REL)
		return false;
	if (has_ctx(s, insn->dst_reg) || has_ctx(s, insn->src_reg) || insn->src_reg >= BPF_REG_10)
		return false;
	if (has_fp(s, insn->dst_reg) && stack_has_ctx(s))
		return false;
	/* What was in memory may come back in the source register or, with cmpxchg, in r0. */
	if (has_fp(s, insn->dst_reg))
		s->fp_regs |= REG_BIT(insn->src_reg) | REG_BIT(BPF_REG_0);
	return !has_ctx(s, BPF_REG_0) || insn->imm != BPF_CMPXCHG;
}

static bool step_store(struct state *s, const struct bpf_insn *insn)
{
	bool stx = BPF_CLASS(insn->code) == BPF_STX;

	if (insn->dst_reg > BPF_REG_10)
		return false;
	if (BPF_MODE(insn->code) == BPF_MEM)
		return store(s, insn, stx && has_ctx(s, insn->src_reg));
	return stx && BPF_MODE(insn->code) == BPF_ATOMIC && step_atomic(s, insn);
}

static bool helper_allowed(const struct state *s, int32_t helper)
{
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		if (allowed[i].id != helper)
			continue;
		for (unsigned int arg = 1; arg <= allowed[i].args; arg++)
			if (has_ctx(s, arg) && !(arg == 1 && allowed[i].takes_ctx))
				return false;
		return true;
	}
	return false;
}

/* A subprogram that gets neither the context nor a way to where it was spilled. */
static bool subprog_allowed(const struct state *s)
{
	for (unsigned int arg = BPF_REG_1; arg <= BPF_REG_5; arg++)
		if (has_ctx(s, arg) || (has_fp(s, arg) && stack_has_ctx(s)))
			return false;
	return true;
}

/* Adds facts to @idx and queues it if any was new. False: outside of the program. */
static bool flow_to(struct flow *f, int64_t idx, const struct state *s)
{
	struct state *old;

	if (idx < 0 || idx >= f->cnt)
		return false;
	old = &f->states[idx];
	if (old->reached && !(s->ctx_slots & ~old->ctx_slots) && !(s->ctx_regs & ~old->ctx_regs) &&
	    !(s->fp_regs & ~old->fp_regs) && (old->ctx_stored || !s->ctx_stored))
		return true;
	old->reached = true;
	old->ctx_slots |= s->ctx_slots;
	old->ctx_regs |= s->ctx_regs;
	old->fp_regs |= s->fp_regs;
	old->ctx_stored |= s->ctx_stored;
	if (!f->queued[idx]) {
		f->queued[idx] = true;
		f->work[f->work_cnt++] = (uint32_t)idx;
	}
	return true;
}

static bool step_call(struct flow *f, uint32_t idx, struct state *s)
{
	const struct bpf_insn *insn = &f->insns[idx];

	if (insn_is_helper_call(insn)) {
		if (!helper_allowed(s, insn->imm))
			return false;
	} else if (insn_ref(insn) == INSN_REF_CALL) {
		/* Its arguments may point into our frame, which it uses as it would its own. */
		struct state callee = {
			.fp_regs = s->fp_regs & SCRATCH_REGS,
		};

		if (!subprog_allowed(s) || !flow_to(f, insn_target(insn, idx), &callee))
			return false;
	} else {
		return false; /* kernel functions can find any task by themselves */
	}
	s->ctx_regs &= (uint16_t)~SCRATCH_REGS;
	s->fp_regs &= (uint16_t)~SCRATCH_REGS;
	return flow_to(f, (int64_t)idx + 1, s);
}

static bool step_jump(struct flow *f, uint32_t idx, struct state *s)
{
	const struct bpf_insn *insn = &f->insns[idx];
	uint8_t op = BPF_OP(insn->code);

	if (insn->code == (BPF_JMP | BPF_EXIT))
		return true;
	if (op == BPF_CALL)
		return step_call(f, idx, s);
	if (op == BPF_EXIT || insn_ref(insn) == INSN_REF_TABLE)
		return false;
	if (op != BPF_JA && !flow_to(f, (int64_t)idx + 1, s))
		return false;
	return flow_to(f, insn_target(insn, idx), s);
}

static bool step(struct flow *f, uint32_t idx)
{
	const struct bpf_insn *insn = &f->insns[idx];
	struct state s = f->states[idx];
	bool ok;

	/* The fields have 4 bits; registers beyond r10 are not of this world. */
	if (insn->dst_reg >= REGS || insn->src_reg >= REGS)
		return false;
	switch (BPF_CLASS(insn->code)) {
	case BPF_JMP:
	case BPF_JMP32:
		return step_jump(f, idx, &s);
	case BPF_ALU:
	case BPF_ALU64:
		ok = step_alu(&s, insn);
		break;
	case BPF_LD:
		ok = step_ld(&s, insn);
		idx++; /* over the second half */
		break;
	case BPF_LDX:
		ok = step_ldx(&s, insn);
		break;
	default:
		ok = step_store(&s, insn);
		break;
	}
	return ok && flow_to(f, (int64_t)idx + 1, &s);
}

bool taskfree_check(const struct bpf_insn *insns, uint32_t cnt)
{
	const struct state entry = {.ctx_regs = REG_BIT(BPF_REG_1)};
	cleanup_free struct state *states = NULL;
	cleanup_free uint32_t *work = NULL;
	cleanup_free bool *queued = NULL;
	struct flow f;

	if (cnt == 0 || cnt > TASKFREE_MAX)
		return false;
	states = calloc(cnt, sizeof(*states));
	work = calloc(cnt, sizeof(*work));
	queued = calloc(cnt, sizeof(*queued));
	if (!states || !work || !queued)
		return false;
	f = (struct flow){
		.insns = insns, .cnt = cnt, .states = states, .work = work, .queued = queued};
	flow_to(&f, 0, &entry);
	while (f.work_cnt > 0) {
		uint32_t idx = f.work[--f.work_cnt];

		f.queued[idx] = false;
		if (!step(&f, idx))
			return false;
	}
	return true;
}
