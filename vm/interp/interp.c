/* SPDX-License-Identifier: MIT */
/*
 * The interpreter's loop: control flow, calls and constants.
 */
#include "vm/interp/interp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vm/interp/run.h"

#define LD_IMM64     (BPF_LD | BPF_IMM | BPF_DW)
#define MAY_GOTO_MAX (8u << 20) /* BPF_MAX_LOOPS, Linux 6.18 */
#define TAIL_CALL    12		/* BPF_FUNC_tail_call */

enum next { NEXT_GO_ON = 0, NEXT_END = 1 };

int interp_fail(struct interp_run *run, int error, const char *fmt, ...)
{
	char what[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return reason_set(run->reason, error, "instruction %u: %s", run->at, what);
}

uint64_t interp_refuse(struct interp_run *run, int error, const char *fmt, ...)
{
	char what[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	run->failed = interp_fail(run, error, "%s", what);
	return 0;
}

static uint64_t frame_pointer(const struct interp_run *run)
{
	return (uint64_t)run->stack + (run->frame + 1ull) * INTERP_STACK;
}

/* Go on at @to, which must be an instruction. */
static int go_to(struct interp_run *run, int64_t to)
{
	if (to < 0 || to >= run->cnt)
		return interp_fail(run, -EINVAL, "leads out of the program, to %lld",
				   (long long)to);
	run->at = (uint32_t)to;
	return 0;
}

static int enter_frame(struct interp_run *run, int64_t function, uint32_t back)
{
	struct interp_frame *frame;

	if (run->frame + 1 == INTERP_FRAMES)
		return interp_fail(run, -E2BIG, "more than %u calls inside of each other",
				   INTERP_FRAMES);
	frame = &run->frames[++run->frame];
	frame->back = back;
	frame->loops = MAY_GOTO_MAX;
	memcpy(frame->saved, &run->regs[BPF_REG_6], sizeof(frame->saved));
	run->regs[BPF_REG_10] = frame_pointer(run);
	return go_to(run, function);
}

static void leave_frame(struct interp_run *run)
{
	const struct interp_frame *frame = &run->frames[run->frame--];

	memcpy(&run->regs[BPF_REG_6], frame->saved, sizeof(frame->saved));
	run->regs[BPF_REG_10] = frame_pointer(run);
	run->at = frame->back;
}

static int tail_call(struct interp_run *run)
{
	const struct interp *interp = run->interp;
	const struct bpf_insn *insns;
	uint32_t cnt;

	if (!interp->tail_call || run->tail_calls == INTERP_TAIL_CALLS ||
	    interp->tail_call(interp->data, run->regs[BPF_REG_2], (uint32_t)run->regs[BPF_REG_3],
			      &insns, &cnt) < 0) {
		run->regs[BPF_REG_0] = (uint64_t)-ENOENT;
		return go_to(run, run->at + 1ll);
	}
	run->tail_calls++;
	run->insns = insns;
	run->cnt = cnt;
	return go_to(run, 0);
}

static int call_helper(struct interp_run *run, const struct bpf_insn *insn)
{
	const uint32_t number = (uint32_t)insn->imm;
	const interp_helper *helpers = run->interp->helpers;
	uint64_t args[5];

	if (number == TAIL_CALL && run->interp->tail_call)
		return tail_call(run);
	if (number >= INTERP_HELPERS || !helpers || !helpers[number])
		return interp_fail(run, -EINVAL, "no such helper: %u", number);
	memcpy(args, &run->regs[BPF_REG_1], sizeof(args));
	run->regs[BPF_REG_0] = helpers[number](run, args);
	return run->failed ? run->failed : go_to(run, run->at + 1ll);
}

static int call(struct interp_run *run, const struct bpf_insn *insn)
{
	if (insn->dst_reg || insn->off || BPF_SRC(insn->code) != BPF_K)
		return interp_fail(run, -EINVAL, "no such call");
	switch (insn->src_reg) {
	case 0:
		return call_helper(run, insn);
	case BPF_PSEUDO_CALL:
		return enter_frame(run, (int64_t)run->at + 1 + insn->imm, run->at + 1);
	default:
		return interp_fail(run, -EINVAL, "no such call: source %u", insn->src_reg);
	}
}

/* may_goto: jumps when the loop has had its turns. */
static int may_go_to(struct interp_run *run, const struct bpf_insn *insn)
{
	struct interp_frame *frame = &run->frames[run->frame];

	if (insn->src_reg || insn->dst_reg || insn->imm)
		return interp_fail(run, -EINVAL, "no such condition");
	if (frame->loops)
		frame->loops--;
	else
		return go_to(run, (int64_t)run->at + 1 + insn->off);
	return go_to(run, run->at + 1ll);
}

static int jump(struct interp_run *run, const struct bpf_insn *insn, int end_frame)
{
	const bool wide = BPF_CLASS(insn->code) == BPF_JMP;
	const uint8_t op = BPF_OP(insn->code);
	int r;

	if (op == BPF_JA && BPF_SRC(insn->code) == BPF_K)
		return go_to(run, (int64_t)run->at + 1 + (wide ? insn->off : insn->imm));
	if (wide && op == BPF_CALL)
		return call(run, insn);
	if (wide && op == BPF_EXIT) {
		if ((int)run->frame == end_frame)
			return NEXT_END;
		leave_frame(run);
		return go_to(run, run->at);
	}
	if (insn->code == (BPF_JMP | INTERP_JCOND))
		return may_go_to(run, insn);
	r = interp_holds(run, insn);
	if (r < 0)
		return r;
	return go_to(run, (int64_t)run->at + 1 + (r ? insn->off : 0));
}

static int constant(struct interp_run *run, const struct bpf_insn *insn)
{
	const struct interp *interp = run->interp;
	uint64_t value = (uint32_t)insn->imm;
	int r = 0;

	if (insn->code != LD_IMM64 || insn->dst_reg == BPF_REG_10)
		return interp_fail(run, -EINVAL, "no such load: code 0x%02x", insn->code);
	if (run->at + 1 == run->cnt || insn[1].code || insn[1].dst_reg || insn[1].src_reg ||
	    insn[1].off)
		return interp_fail(run, -EINVAL, "half of a constant is missing");
	if (insn->src_reg == BPF_PSEUDO_FUNC)
		value = INTERP_FUNCTION | (uint32_t)((int64_t)run->at + 1 + insn->imm);
	else if (insn->src_reg)
		r = interp->constant ? interp->constant(interp->data, insn, &value) : -EINVAL;
	else
		value |= (uint64_t)(uint32_t)insn[1].imm << 32;
	if (r < 0)
		return interp_fail(run, r, "no such constant: source %u", insn->src_reg);
	run->regs[insn->dst_reg] = value;
	return go_to(run, run->at + 2ll);
}

/* Everything that the next instruction follows. */
static int straight(struct interp_run *run, const struct bpf_insn *insn)
{
	int r;

	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		r = interp_alu(run, insn);
		break;
	case BPF_LDX:
		r = interp_load(run, insn);
		break;
	case BPF_STX:
		r = BPF_MODE(insn->code) == BPF_ATOMIC ? interp_atomic(run, insn)
						       : interp_store(run, insn);
		break;
	default:
		r = interp_store(run, insn);
	}
	return r < 0 ? r : go_to(run, run->at + 1ll);
}

static int look(struct interp_run *run)
{
	const struct interp_step step = {
		.insns = run->insns, .at = run->at, .frame = run->frame, .regs = run->regs};

	if (!run->left--)
		return interp_fail(run, -ETIMEDOUT, "the budget of %llu instructions is used up",
				   (unsigned long long)run->interp->budget);
	return run->interp->step ? run->interp->step(run->interp->data, &step) : 0;
}

/* Until the function of @end_frame returns. */
static int loop(struct interp_run *run, uint32_t end_frame)
{
	for (;;) {
		const struct bpf_insn *insn = &run->insns[run->at];
		int r = look(run);

		if (r < 0)
			return r;
		if (insn->dst_reg >= INTERP_REGS || insn->src_reg >= INTERP_REGS)
			return interp_fail(run, -EINVAL, "no such register");
		switch (BPF_CLASS(insn->code)) {
		case BPF_JMP:
		case BPF_JMP32:
			r = jump(run, insn, (int)end_frame);
			break;
		case BPF_LD:
			r = constant(run, insn);
			break;
		default:
			r = straight(run, insn);
		}
		if (r != NEXT_GO_ON)
			return r < 0 ? r : 0;
	}
}

int interp_run(const struct interp *interp, const struct bpf_insn *insns, uint32_t cnt,
	       const uint64_t args[5], uint64_t *ret_r0, struct reason *reason)
{
	struct interp_run run = {.interp = interp,
				 .insns = insns,
				 .cnt = cnt,
				 .left = interp->budget,
				 .reason = reason};
	int r;

	reason_clear(reason);
	if (!cnt)
		return reason_set(reason, -EINVAL, "an empty program");
	memcpy(&run.regs[BPF_REG_1], args, 5 * sizeof(args[0]));
	run.regs[BPF_REG_10] = frame_pointer(&run);
	run.frames[0].loops = MAY_GOTO_MAX;
	r = loop(&run, 0);
	if (r == 0)
		*ret_r0 = run.regs[BPF_REG_0];
	return r;
}

void *interp_data(const struct interp_run *run)
{
	return run->interp->data;
}

int interp_callback(struct interp_run *run, uint64_t function, const uint64_t args[5],
		    uint64_t *ret_r0)
{
	const uint32_t at = run->at;
	uint64_t regs[INTERP_REGS];
	int r;

	if (function >> 32 != INTERP_FUNCTION >> 32) {
		run->failed = interp_fail(run, -EINVAL, "no such function: %#llx",
					  (unsigned long long)function);
		return run->failed;
	}
	memcpy(regs, run->regs, sizeof(regs));
	r = enter_frame(run, (uint32_t)function, at);
	if (r == 0) {
		memcpy(&run->regs[BPF_REG_1], args, 5 * sizeof(args[0]));
		r = loop(run, run->frame);
	}
	run->failed = r;
	*ret_r0 = run->regs[BPF_REG_0];
	if (r == 0)
		run->frame--;
	memcpy(run->regs, regs, sizeof(regs));
	run->at = at;
	return r;
}
