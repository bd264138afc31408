/* SPDX-License-Identifier: MIT */
/*
 * Helper calls.
 */
#include <errno.h>

#include "base/bpf_abi.h"
#include "verifier/dynptr.h"
#include "verifier/helpers.h"
#include "verifier/internal.h"
#include "verifier/packet.h"
#include "verifier/special.h"

#define ERRNO_MAX 4095 /* MAX_ERRNO, include/linux/err.h, Linux 6.12 */

/* Registers of one call as they are checked, in order. */
struct call_check {
	const struct helper_row *row;
	uint32_t id;
	struct reg map;		   /* of ARG_MAP */
	struct verifier_map shape; /* of that */
	struct reg func;	   /* of ARG_FUNC */
	uint32_t size;		   /* of ARG_RECORD_SIZE, or the most that ARG_SIZE may be */
	uint32_t released;	   /* reference of ARG_RECORD or ARG_DYNPTR_END */
	uint32_t dynptr;	   /* id of ARG_DYNPTR */
	uint32_t ref;		   /* by which memory of an argument is held */
	bool found;		   /* ARG_KEY is the number of an element that there is */
};

static int bad_type(struct walk *walk, uint32_t regno, const char *expected)
{
	return walk_fail(walk, -EACCES, "R%u type=%s expected=%s\n", regno,
			 reg_type_name(walk_reg(walk, regno)->type), expected);
}

static int check_map(struct walk *walk, struct call_check *check, uint32_t regno)
{
	const struct reg *reg = walk_reg(walk, regno);
	uint32_t type;

	if (reg->type != REG_MAP)
		return bad_type(walk, regno, "map_ptr");
	check->map = *reg;
	check->shape = walk_map(walk, reg);
	type = check->shape.type;
	if (type >= 64 || !(helper_map_types() >> type & 1))
		return walk_fail(walk, -EOPNOTSUPP, "not supported by this verifier: map type %u\n",
				 type);
	if (check->id == BPF_FUNC_tail_call && type != BPF_MAP_TYPE_PROG_ARRAY)
		return walk_fail(walk, -EINVAL, "expected prog array map for tail call");
	if ((type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS) &&
	    !check->shape.inner.type && check->id == BPF_FUNC_map_lookup_elem)
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: map type %u, whose maps are not "
				 "known\n",
				 type);
	/* Source: set_map_elem_callback_state(), Linux 6.12. */
	if (!(check->row->map_types >> type & 1) && check->row->calls_back)
		return walk_fail(walk, -ABI_ENOTSUPP, "callback function not allowed for map\n");
	if (!(check->row->map_types >> type & 1))
		return walk_fail(walk, -EINVAL, "cannot pass map_type %u into func bpf_%s#%u\n",
				 type, check->row->name, check->id);
	return 0;
}

static bool may_be_null(enum helper_arg arg)
{
	return arg == ARG_MEM_OR_NULL || arg == ARG_MEM_OUT_OR_NULL;
}

static bool is_out(enum helper_arg arg)
{
	return arg == ARG_MEM_OUT || arg == ARG_MEM_OUT_OR_NULL;
}

static int check_size(struct walk *walk, struct call_check *check, uint32_t regno,
		      enum helper_arg memory)
{
	const bool zero_allowed = check->row->args[regno - 1] == ARG_SIZE_OR_0;
	const struct reg *reg = walk_reg(walk, regno), *at = walk_reg(walk, regno - 1);

	if (reg->type != REG_SCALAR)
		return bad_type(walk, regno, "scalar");
	need_value(walk, reg);
	if (reg->r64.smin < 0)
		return walk_fail(walk, -EACCES,
				 "R%u min value is negative, either use unsigned or 'var &= "
				 "const'\n",
				 regno);
	if (reg->r64.umax >= VAR_OFF_MAX)
		return walk_fail(walk, -EACCES,
				 "R%u unbounded memory access, use 'var &= const' or 'if (var < "
				 "const)'\n",
				 regno);
	if (!zero_allowed && reg->r64.umin == 0)
		return walk_fail(walk, -EACCES, "R%u invalid zero-sized read: u64=[0,%llu]\n",
				 regno, (unsigned long long)reg->r64.umax);
	check->size = (uint32_t)reg->r64.umax;
	if (may_be_null(memory) && !check->size && reg_is_const(at) && !at->r64.umin) {
		need_value(walk, at);
		return 0;
	}
	return memory_range(walk, regno - 1, reg->r64.umin, reg->r64.umax, is_out(memory));
}

static int check_record_size(struct walk *walk, struct call_check *check, uint32_t regno)
{
	const struct reg *reg = walk_reg(walk, regno);

	if (reg->type != REG_SCALAR || !range_is_const(&reg->r64))
		return walk_fail(walk, -EACCES, "R%u is not a known constant\n", regno);
	need_value(walk, reg);
	if (reg->r64.umin >= VAR_OFF_MAX)
		return walk_fail(walk, -EACCES, "R%u: more than a record can have\n", regno);
	check->size = (uint32_t)reg->r64.umin;
	return 0;
}

static uint32_t innermost_callback(const struct state *state)
{
	uint32_t i = state->caller_cnt;

	while (i && !state_frame(state, i)->callback)
		i--;
	return i;
}

static int check_record(struct walk *walk, struct call_check *check, uint32_t regno)
{
	const struct reg *reg = walk_reg(walk, regno);

	if (reg->type != REG_RECORD)
		return bad_type(walk, regno, "ringbuf_mem");
	if (reg->off || !range_is_const(&reg->r64) || reg->r64.umin)
		return walk_fail(walk, -EINVAL,
				 "R%u must have zero offset when passed to release func\n", regno);
	check->released = reg->id;
	return 0;
}

static int check_stack_or_null(struct walk *walk, uint32_t regno)
{
	const struct reg *reg = walk_reg(walk, regno);

	if (reg->type == REG_STACK)
		return 0;
	if (!reg_is_const(reg) || reg->r64.umin)
		return bad_type(walk, regno, "fp");
	need_value(walk, reg);
	return 0;
}

/* Elements of an array are all there. Source: get_constant_map_key(), Linux 6.18. */
static int check_key(struct walk *walk, struct call_check *check, uint32_t regno)
{
	const struct verifier_map *shape = &check->shape;
	const struct reg *reg = walk_reg(walk, regno);
	int r = memory_range(walk, regno, shape->key_size, shape->key_size, false);
	uint64_t key;

	/* Of inner maps others may be shorter. */
	if (r == 0 && !check->map.inner && reg->type == REG_STACK &&
	    (shape->type == BPF_MAP_TYPE_ARRAY || shape->type == BPF_MAP_TYPE_PERCPU_ARRAY) &&
	    stack_number(walk, reg, shape->key_size, &key))
		check->found = key < shape->max_entries;
	return r;
}

/* The kernel follows one reference for each call. */
static int check_ref(struct walk *walk, struct call_check *check, uint32_t regno)
{
	const struct reg *reg = walk_reg(walk, regno);
	uint32_t ref = 0;

	if (reg->type == REG_RECORD)
		ref = reg->id;
	else if (reg->type == REG_SLICE)
		ref = dynptr_ref_of(walk, reg->dynptr);
	if (ref && check->ref)
		return walk_fail(walk, -EACCES, "more than one arg with ref_obj_id R%u %u %u\n",
				 regno, ref, check->ref);
	check->ref = ref ? ref : check->ref;
	return 0;
}

static int check_arg(struct walk *walk, struct call_check *check, int index)
{
	const enum helper_arg *args = check->row->args;
	uint32_t regno = (uint32_t)index + 1;
	const struct reg *reg = walk_reg(walk, regno);
	int r = read_reg(walk, regno);

	if (r == 0 && args[index] != ARG_ANY)
		r = packet_check_arg(walk, reg, check->row->takes_packets);
	if (r == 0 && args[index] != ARG_ANY)
		r = check_ref(walk, check, regno);
	if (r < 0)
		return r;
	switch (args[index]) {
	case ARG_CTX:
		if (reg->type != REG_CTX || reg->off)
			return bad_type(walk, regno, "ctx");
		return 0;
	case ARG_MAP:
		return check_map(walk, check, regno);
	case ARG_KEY:
		return check_key(walk, check, regno);
	case ARG_VALUE:
	case ARG_VALUE_OUT:
		/* A bloom filter is asked about the value. */
		return memory_range(walk, regno, check->shape.value_size, check->shape.value_size,
				    args[index] == ARG_VALUE_OUT &&
					    check->shape.type != BPF_MAP_TYPE_BLOOM_FILTER);
	case ARG_SIZE:
	case ARG_SIZE_OR_0:
		return check_size(walk, check, regno, args[index - 1]);
	case ARG_RECORD_SIZE:
	case ARG_LENGTH:
		return check_record_size(walk, check, regno);
	case ARG_RECORD:
		return check_record(walk, check, regno);
	case ARG_DYNPTR:
		return dynptr_use(walk, regno, DYNPTR_ANY, &check->dynptr);
	case ARG_DYNPTR_LOCAL:
	case ARG_DYNPTR_RECORD:
		if (reg->type != REG_STACK && reg->type != REG_DYNPTR)
			return bad_type(walk, regno, "fp, dynptr_ptr");
		return dynptr_new(walk, regno,
				  args[index] == ARG_DYNPTR_LOCAL ? DYNPTR_LOCAL : DYNPTR_RECORD);
	case ARG_DYNPTR_END:
		return dynptr_check_release(walk, regno, &check->released);
	case ARG_LOCK:
		return special_lock(walk, regno);
	case ARG_LOCK_END:
		return special_unlock(walk, regno);
	case ARG_FUNC:
		if (reg->type != REG_FUNC)
			return bad_type(walk, regno, "func");
		check->func = *reg;
		return 0;
	case ARG_STACK_OR_NULL:
		return check_stack_or_null(walk, regno);
	case ARG_LONG_OUT:
		return arg_long_out(walk, regno);
	case ARG_CONST_STR:
		return arg_const_str(walk, regno);
	default:
		return 0; /* memory is checked with its size */
	}
}

static void note_map(struct walk *walk, const struct call_check *check)
{
	uint32_t type = check->shape.type;

	walk->facts->maps |= 1ull << check->map.map;
	if (type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	    type == BPF_MAP_TYPE_LRU_PERCPU_HASH)
		walk->facts->uses_percpu = true;
}

/* Flags of the map against what the helper does with it. */
static int check_map_flags(struct walk *walk, const struct call_check *check)
{
	uint32_t flags = check->shape.flags;

	bool writes = check->id == BPF_FUNC_map_update_elem ||
		      check->id == BPF_FUNC_map_delete_elem ||
		      check->id == BPF_FUNC_map_push_elem || check->id == BPF_FUNC_map_pop_elem;

	if (writes && (flags & BPF_F_RDONLY_PROG))
		return walk_fail(walk, -EACCES, "write into map forbidden\n");
	return 0;
}

int ref_acquire(struct walk *walk, uint32_t id)
{
	struct state *state = &walk->state;

	if (state->ref_cnt == REFS_MAX)
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: more than %u references\n",
				 REFS_MAX);
	state->refs[state->ref_cnt].id = id;
	state->refs[state->ref_cnt].at = walk->at;
	state->refs[state->ref_cnt++].callback = innermost_callback(state);
	return 0;
}

static void drop_reg(struct reg *reg, void *data)
{
	(void)data;
	reg_set_unknown(reg);
}

/* Nobody has it any more. */
static int release(struct walk *walk, uint32_t id)
{
	struct state *state = &walk->state;

	for (uint32_t i = 0; i < state->ref_cnt; i++) {
		if (state->refs[i].id != id)
			continue;
		if (state->refs[i].callback != innermost_callback(state))
			break;
		state->refs[i] = state->refs[--state->ref_cnt];
		return state_each(state, id, drop_reg, NULL);
	}
	return walk_fail(walk, -EINVAL, "release of a reference that was acquired elsewhere\n");
}

static int set_result(struct walk *walk, const struct call_check *check)
{
	struct reg *r0 = walk_reg(walk, 0);

	for (uint32_t i = 0; i <= 5; i++)
		reg_set_none(walk_reg(walk, i));
	if (check->row->ret == RET_VOID)
		return 0;
	reg_set_unknown(r0);
	if (check->row->ret == RET_LENGTH) {
		struct range length = range_unknown(64);

		/* Source: do_refine_retval_range(), Linux 6.12. */
		length.smin = -ERRNO_MAX;
		length.smax = check->size;
		range_sync(&length, 64);
		reg_set_r64(r0, &length);
	}
	if (check->row->ret == RET_SCALAR || check->row->ret == RET_LENGTH)
		return 0;
	*r0 = (struct reg){.type = REG_VALUE_OR_NULL,
			   .map = check->map.map,
			   .inner = check->map.inner,
			   .id = ++walk->last_id,
			   .r64 = range_const(0, 64)};
	if (check->found && check->id == BPF_FUNC_map_lookup_elem) {
		r0->type = REG_VALUE;
		if (!check->shape.fields.kinds)
			r0->id = 0;
	}
	if (check->row->ret == RET_VALUE_OR_NULL)
		return 0;
	if (check->row->ret == RET_SLICE_OR_NULL) {
		*r0 = (struct reg){.type = REG_SLICE_OR_NULL,
				   .id = r0->id,
				   .dynptr = check->dynptr,
				   .size = check->size,
				   .r64 = range_const(0, 64)};
		return 0;
	}
	r0->type = REG_RECORD_OR_NULL;
	r0->size = check->size;
	return ref_acquire(walk, r0->id);
}

/* What the function is given; the rest it must not read. Source: set_*_callback_state(),
 * Linux 6.12. */
static void callback_args(struct walk *walk, const struct call_check *check, struct reg *args)
{
	for (uint32_t i = 0; i <= 5; i++)
		reg_set_none(&args[i]);
	if (check->id == BPF_FUNC_loop) {
		reg_set_unknown(&args[1]);
		args[2] = *walk_reg(walk, 3);
		return;
	}
	if (check->id == BPF_FUNC_user_ringbuf_drain) {
		args[1] = (struct reg){.type = REG_DYNPTR,
				       .map = DYNPTR_LOCAL,
				       .id = ++walk->last_id,
				       .r64 = range_const(0, 64)};
		args[2] = *walk_reg(walk, 3);
		return;
	}
	args[1] = *walk_reg(walk, 1);
	args[2] = (struct reg){.type = REG_KEY,
			       .map = check->map.map,
			       .inner = check->map.inner,
			       .r64 = range_const(0, 64)};
	args[3] = (struct reg){.type = REG_VALUE,
			       .map = check->map.map,
			       .inner = check->map.inner,
			       .r64 = range_const(0, 64)};
	args[4] = *walk_reg(walk, 3);
}

/* Another turn, unless all that a bpf_loop() was asked for were walked. */
static int call_back(struct walk *walk, const struct call_check *check)
{
	struct frame *top = &walk->state.top;
	struct reg args[6];
	int r = 0;

	need_value(walk, &top->regs[1]);
	if (check->id != BPF_FUNC_loop || top->turns < top->regs[1].r64.umax) {
		callback_args(walk, check, args);
		r = func_callback(walk, &check->func, check->id, args);
	}
	top->turns = 0;
	return r;
}

static int refuse_id(struct walk *walk, uint32_t id)
{
	if (id >= HELPER_KNOWN_MAX || id == 0)
		return walk_fail(walk, -EINVAL, "invalid func unknown#%u\n", id);
	return walk_fail(walk, -EOPNOTSUPP, "not supported by this verifier: helper %u\n", id);
}

/* Build ids stand in files, which a traced process cannot be made to read. */
static bool may_ask_build_ids(const struct reg *flags)
{
	return flags->type != REG_SCALAR ||
	       ((flags->r64.t.value | flags->r64.t.mask) & BPF_F_USER_BUILD_ID);
}

static int check_args(struct walk *walk, struct call_check *check)
{
	bool has_map = false;
	int r;

	for (int i = 0; i < 5 && check->row->args[i] != ARG_NONE; i++) {
		r = check_arg(walk, check, i);
		if (r < 0)
			return r;
		has_map |= check->row->args[i] == ARG_MAP;
	}
	if (!has_map)
		return 0;
	r = check_map_flags(walk, check);
	if (r == 0)
		note_map(walk, check);
	return r;
}

/* Whoever is called does not come back here. */
static int check_tail_call(struct walk *walk)
{
	const struct state *state = &walk->state;

	if (!state->ref_cnt)
		return 0;
	for (uint32_t i = 0; i < state->ref_cnt; i++)
		walk_say(walk, "Unreleased reference id=%u alloc_insn=%u\n", state->refs[i].id,
			 state->refs[i].at);
	return walk_fail(walk, -EINVAL, "tail_call would lead to reference leak\n");
}

static void note_helper(struct walk *walk, const struct call_check *check)
{
	struct verifier_facts *facts = walk->facts;
	bool kernel_only = check->row->kernel_only;

	facts->helpers[check->id / 64] |= 1ull << (check->id % 64);
	if (check->id == BPF_FUNC_get_stack) {
		need_value(walk, walk_reg(walk, 4));
		kernel_only = may_ask_build_ids(walk_reg(walk, 4));
	}
	if (kernel_only && !facts->kernel_only)
		facts->kernel_only = check->id;
}

static int call_helper(struct walk *walk, const struct bpf_insn *insn)
{
	struct call_check check = {.id = (uint32_t)insn->imm};
	int r;

	if (insn->src_reg || insn->dst_reg || insn->off)
		return walk_fail(walk, -EINVAL, "BPF_CALL uses reserved fields\n");
	if (walk->state.locked && check.id != BPF_FUNC_spin_unlock)
		return walk_fail(walk, -EINVAL,
				 "function calls are not allowed while holding a lock\n");
	check.row = helper_row(check.id);
	if (!check.row)
		return refuse_id(walk, check.id);
	if (check.row->types && !(check.row->types >> walk->prog->type & 1))
		return walk_fail(walk, -EINVAL,
				 "program of this type cannot use helper bpf_%s#%u\n",
				 check.row->name, check.id);
	if (check.row->gpl && !walk->prog->gpl)
		return walk_fail(walk, -EINVAL,
				 "cannot call GPL-restricted function from non-GPL compatible "
				 "program\n");
	if (check.row->sleeps && !walk->prog->sleepable)
		return walk_fail(walk, -EINVAL,
				 "helper call might sleep in a non-sleepable prog\n");
	r = check_args(walk, &check);
	if (r == 0 && check.id == BPF_FUNC_snprintf)
		r = arg_format(walk, 3, 5);
	if (r < 0)
		return r;
	if (check.id == BPF_FUNC_dynptr_from_mem && walk_reg(walk, 1)->type != REG_VALUE)
		return walk_fail(walk, -EACCES,
				 "Unsupported reg type %s for bpf_dynptr_from_mem data\n",
				 reg_type_name(walk_reg(walk, 1)->type));
	if (check.id == BPF_FUNC_tail_call)
		r = check_tail_call(walk);
	if (r == 0 && check.id == BPF_FUNC_tail_call)
		r = func_tail_call(walk);
	if (r < 0)
		return r;
	note_helper(walk, &check);
	if (check.row->calls_back)
		r = call_back(walk, &check);
	if (r == 0 && check.released)
		r = release(walk, check.released);
	if (r == 0 && check.row->args[0] == ARG_DYNPTR_END)
		r = dynptr_release(walk, 1);
	if (r == 0 && check.row->moves_packet)
		r = packet_moved(&walk->state);
	return r < 0 ? r : set_result(walk, &check);
}

int call_insn(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next)
{
	if (insn_calls(insn))
		return func_call(walk, insn, ret_next);
	return call_helper(walk, insn);
}
