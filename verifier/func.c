/* SPDX-License-Identifier: MIT */
/*
 * Functions of the program: calls, what helpers call back, and the way back.
 */
#include <errno.h>

#include "verifier/internal.h"
#include "verifier/packet.h"
#include "verifier/special.h"

/* A frame for the function at @start, called from @call. Return: 0 or -errno */
static int enter(struct walk *walk, struct state *state, uint32_t start, uint32_t call)
{
	if (state->caller_cnt + 1 >= FRAMES)
		return walk_fail(walk, -E2BIG, "the call stack of %u frames is too deep\n",
				 state->caller_cnt + 1);
	if (state_enter(state) < 0)
		return -ENOMEM;
	state->top.start = start;
	state->top.call = call;
	state->top.regs[10] = (struct reg){
		.type = REG_STACK, .frame = (uint8_t)state->caller_cnt, .r64 = range_const(0, 64)};
	return 0;
}

int func_call(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next)
{
	struct reg args[6];
	struct frame *caller = &walk->state.top;
	uint32_t start = (uint32_t)insn_target(insn, walk->at);
	uint16_t live = walk->insns[walk->at + 1].live;
	int r;

	if (insn->dst_reg || insn->off)
		return walk_fail(walk, -EINVAL, "BPF_CALL uses reserved fields\n");
	if (walk->subprogs[cfg_subprog(walk, start)].global)
		return global_call(walk, cfg_subprog(walk, start));
	for (uint32_t i = 0; i < 10; i++) {
		if (i <= 5)
			args[i] = caller->regs[i];
		if (i <= 5 || !(live >> i & 1))
			reg_set_none(&caller->regs[i]);
	}
	r = enter(walk, &walk->state, start, walk->at);
	if (r < 0)
		return r;
	for (uint32_t i = 1; i <= 5; i++)
		*walk_reg(walk, i) = args[i];
	walk->state.top.run = ++walk->last_run;
	*ret_next = start;
	return 0;
}

int func_callback(struct walk *walk, const struct reg *func, uint32_t helper,
		  const struct reg *regs)
{
	struct state state;
	uint32_t start = func->map, run = walk->state.top.loop;
	int r = state_copy(&state, &walk->state);

	if (r < 0)
		return r;
	state.top.turns++;
	state.unrolled++;
	r = enter(walk, &state, start, walk->at);
	if (r < 0) {
		state_deinit(&state);
		return r;
	}
	for (uint32_t i = 1; i <= 5; i++)
		state.top.regs[i] = regs[i];
	state.top.callback = helper;
	state.top.run = run;
	return walk_push(walk, &state, start);
}

/* What was acquired in the callback of frame @callback, or in none, is released there. */
static int check_released(struct walk *walk, uint32_t callback)
{
	const struct state *state = &walk->state;

	for (uint32_t i = 0; i < state->ref_cnt; i++)
		if (state->refs[i].callback == callback)
			return walk_fail(walk, -EINVAL,
					 "Unreleased reference id=%u alloc_insn=%u\n",
					 state->refs[i].id, state->refs[i].at);
	return 0;
}

/* A callback says whether there should be another turn. */
static int callback_exit(struct walk *walk, uint32_t *ret_next)
{
	struct reg *r0 = walk_reg(walk, 0);
	uint32_t call = walk->state.top.call;
	int r;

	if (r0->type != REG_SCALAR)
		return walk_fail(walk, -EACCES, "R0 not a scalar value\n");
	need_value(walk, r0);
	if (r0->r64.umax > 1)
		return walk_fail(
			walk, -EINVAL,
			"At callback return the register R0 has smin=%lld smax=%lld should "
			"have been in [0, 1]\n",
			(long long)r0->r64.smin, (long long)r0->r64.smax);
	r = check_released(walk, walk->state.caller_cnt);
	if (r == 0)
		r = state_leave(&walk->state);
	if (r < 0)
		return r;
	walk->state.returned = true;
	*ret_next = call;
	return explored_widen(walk, &walk->state, call);
}

/* A way out of the function at hand, besides the one that goes on: it returns @r0. */
static int leave(struct walk *walk, const struct reg *r0, bool moves_packet)
{
	const bool callback = walk->state.top.callback;
	const uint32_t call = walk->state.top.call;
	struct state other;
	int r;

	if (!walk->state.caller_cnt)
		return 0;
	r = state_copy(&other, &walk->state);
	if (r < 0)
		return r;
	r = state_leave(&other);
	if (r == 0 && moves_packet)
		r = packet_moved(&other);
	if (r == 0 && callback) {
		other.returned = true;
		r = explored_widen(walk, &other, call);
	} else if (r == 0) {
		other.top.regs[0] = *r0;
	}
	if (r < 0) {
		state_deinit(&other);
		return r;
	}
	return walk_push(walk, &other, callback ? call : call + 1);
}

int func_tail_call(struct walk *walk)
{
	struct reg r0;

	/* The other program returns what it likes, and may have moved the packet. */
	reg_set_unknown(&r0);
	return leave(walk, &r0, true);
}

int func_packet_end(struct walk *walk)
{
	struct reg r0;

	/* Linux 6.18 refuses them, too, for a bug of its own. */
	if (walk->state.top.callback)
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: packet loads in callbacks\n");
	reg_set_const(&r0, 0);
	return leave(walk, &r0, false);
}

/* Newer than Debian 12's header. Source: include/uapi/linux/bpf.h, Linux 6.18. */
#define KPROBE_SESSION 56u
#define UPROBE_SESSION 57u

/* The most that the program may return; any number unless it says so. Source: check_return_code(),
 * Linux 6.12. */
static bool has_return_max(const struct verifier_prog *prog, uint64_t *ret_max)
{
	*ret_max = prog->type == BPF_PROG_TYPE_CGROUP_SKB &&
				   prog->attach_type == BPF_CGROUP_INET_EGRESS
			   ? 3
			   : 1;
	return prog->type == BPF_PROG_TYPE_CGROUP_SKB ||
	       (prog->type == BPF_PROG_TYPE_KPROBE &&
		(prog->attach_type == KPROBE_SESSION || prog->attach_type == UPROBE_SESSION));
}

static int check_return(struct walk *walk)
{
	const struct reg *r0 = walk_reg(walk, 0);
	uint64_t max;

	if (read_reg(walk, 0) < 0)
		return -EACCES;
	if (walk->state.top.start) /* a function that is verified by itself */
		return r0->type == REG_SCALAR
			       ? 1
			       : walk_fail(walk, -EINVAL,
					   "At subprogram exit the register R0 is not a scalar "
					   "value (%s)\n",
					   reg_type_name(r0->type));
	if (!has_return_max(walk->prog, &max))
		return 1;
	if (r0->type != REG_SCALAR)
		return walk_fail(walk, -EINVAL,
				 "At program exit the register R0 is not a known value (%s)\n",
				 reg_type_name(r0->type));
	need_value(walk, r0);
	if (r0->r64.umax <= max)
		return 1;
	walk_say(walk, "At program exit the register R0 has");
	if (r0->r64.smin > INT64_MIN)
		walk_say(walk, " smin=%lld", (long long)r0->r64.smin);
	if (r0->r64.smax < INT64_MAX)
		walk_say(walk, " smax=%lld", (long long)r0->r64.smax);
	if (r0->r64.smin == INT64_MIN && r0->r64.smax == INT64_MAX)
		walk_say(walk, " unknown scalar value");
	return walk_fail(walk, -EINVAL, " should have been in [0, %llu]\n",
			 (unsigned long long)max);
}

int func_exit(struct walk *walk, uint32_t *ret_next)
{
	struct state *state = &walk->state;
	struct reg r0 = state->top.regs[0];
	uint32_t call = state->top.call;
	int r;

	if (!state->caller_cnt) {
		r = special_check_unlocked(walk, "BPF_EXIT instruction in main prog");
		if (r == 0)
			r = check_released(walk, 0);
		return r < 0 ? r : check_return(walk);
	}
	if (state->top.callback)
		return callback_exit(walk, ret_next);
	if (r0.type == REG_STACK)
		return walk_fail(walk, -EINVAL, "cannot return stack pointer to the caller\n");
	r = state_leave(state);
	if (r < 0)
		return r;
	state->top.regs[0] = r0;
	*ret_next = call + 1;
	return 0;
}
