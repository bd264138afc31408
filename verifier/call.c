/* SPDX-License-Identifier: MIT */
/*
 * Helper calls.
 */
#include <errno.h>

#include "verifier/helpers.h"
#include "verifier/internal.h"

/* Registers of one call as they are checked, in order. */
struct call_check {
	const struct helper_row *row;
	uint32_t id;
	uint32_t map; /* of ARG_MAP */
};

static int check_map(struct walk *walk, struct call_check *check, uint32_t regno)
{
	const struct reg *reg = &walk->state.regs[regno];
	uint32_t type;

	if (reg->type != REG_MAP)
		return walk_fail(walk, -EACCES, "R%u type=%s expected=map_ptr\n", regno,
				 reg_type_name(reg->type));
	check->map = reg->map;
	type = walk->prog->maps[reg->map].type;
	if (type >= 64 || !(helper_map_types() >> type & 1))
		return walk_fail(walk, -EOPNOTSUPP, "not supported by this verifier: map type %u\n",
				 type);
	if (!(check->row->map_types >> type & 1))
		return walk_fail(walk, -EINVAL, "cannot pass map_type %u into func bpf_%s#%u\n",
				 type, check->row->name, check->id);
	return 0;
}

static int check_size(struct walk *walk, uint32_t regno, bool zero_allowed, bool out)
{
	const struct reg *reg = &walk->state.regs[regno];

	if (reg->type != REG_SCALAR)
		return walk_fail(walk, -EACCES, "R%u type=%s expected=scalar\n", regno,
				 reg_type_name(reg->type));
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
	return memory_range(walk, regno - 1, reg->r64.umin, reg->r64.umax, out);
}

static int check_arg(struct walk *walk, struct call_check *check, int index)
{
	const enum helper_arg *args = check->row->args;
	uint32_t regno = (uint32_t)index + 1;
	int r = read_reg(walk, regno);

	if (r < 0)
		return r;
	switch (args[index]) {
	case ARG_CTX:
		if (walk->state.regs[regno].type != REG_CTX || walk->state.regs[regno].off)
			return walk_fail(walk, -EACCES, "R%u type=%s expected=ctx\n", regno,
					 reg_type_name(walk->state.regs[regno].type));
		return 0;
	case ARG_MAP:
		return check_map(walk, check, regno);
	case ARG_KEY:
		return memory_range(walk, regno, walk->prog->maps[check->map].key_size,
				    walk->prog->maps[check->map].key_size, false);
	case ARG_VALUE:
	case ARG_VALUE_OUT:
		/* A bloom filter is asked about the value. */
		return memory_range(walk, regno, walk->prog->maps[check->map].value_size,
				    walk->prog->maps[check->map].value_size,
				    args[index] == ARG_VALUE_OUT &&
					    walk->prog->maps[check->map].type !=
						    BPF_MAP_TYPE_BLOOM_FILTER);
	case ARG_SIZE:
	case ARG_SIZE_OR_0:
		return check_size(walk, regno, args[index] == ARG_SIZE_OR_0,
				  args[index - 1] == ARG_MEM_OUT);
	default:
		return 0; /* memory is checked with its size */
	}
}

static void note_map(struct walk *walk, uint32_t map)
{
	uint32_t type = walk->prog->maps[map].type;

	walk->facts->maps |= 1ull << map;
	if (type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	    type == BPF_MAP_TYPE_LRU_PERCPU_HASH)
		walk->facts->uses_percpu = true;
}

/* Flags of the map against what the helper does with it. */
static int check_map_flags(struct walk *walk, const struct call_check *check)
{
	uint32_t flags = walk->prog->maps[check->map].flags;

	bool writes = check->id == BPF_FUNC_map_update_elem ||
		      check->id == BPF_FUNC_map_delete_elem ||
		      check->id == BPF_FUNC_map_push_elem || check->id == BPF_FUNC_map_pop_elem;

	if (writes && (flags & BPF_F_RDONLY_PROG))
		return walk_fail(walk, -EACCES, "write into map forbidden\n");
	return 0;
}

static void set_result(struct walk *walk, const struct call_check *check)
{
	struct reg *r0 = &walk->state.regs[0];

	for (uint32_t i = 0; i <= 5; i++)
		reg_set_none(&walk->state.regs[i]);
	if (check->row->ret == RET_SCALAR) {
		reg_set_unknown(r0);
		return;
	}
	*r0 = (struct reg){.type = REG_VALUE_OR_NULL,
			   .map = check->map,
			   .id = ++walk->last_id,
			   .r64 = range_const(0, 64)};
}

static int refuse_id(struct walk *walk, uint32_t id)
{
	if (id >= HELPER_KNOWN_MAX || id == 0)
		return walk_fail(walk, -EINVAL, "invalid func unknown#%u\n", id);
	return walk_fail(walk, -EOPNOTSUPP, "not supported by this verifier: helper %u\n", id);
}

static bool asks_user_stack(const struct reg *flags)
{
	return flags->type == REG_SCALAR && range_is_const(&flags->r64) &&
	       (flags->r64.umin & BPF_F_USER_STACK);
}

int call_insn(struct walk *walk, const struct bpf_insn *insn)
{
	struct call_check check = {.id = (uint32_t)insn->imm};
	bool has_map = false;

	if (insn->src_reg || insn->dst_reg || insn->off)
		return walk_fail(walk, -EINVAL, "BPF_CALL uses reserved fields\n");
	check.row = helper_row(check.id);
	if (!check.row)
		return refuse_id(walk, check.id);
	if (check.row->gpl && !walk->prog->gpl)
		return walk_fail(walk, -EINVAL,
				 "cannot call GPL-restricted function from non-GPL compatible "
				 "program\n");
	for (int i = 0; i < 5 && check.row->args[i] != ARG_NONE; i++) {
		int r = check_arg(walk, &check, i);

		if (r < 0)
			return r;
		has_map |= check.row->args[i] == ARG_MAP;
	}
	if (has_map) {
		int r = check_map_flags(walk, &check);

		if (r < 0)
			return r;
		note_map(walk, check.map);
	}
	walk->facts->helpers[check.id / 64] |= 1ull << (check.id % 64);
	if (check.row->kernel_only && !walk->facts->kernel_only)
		walk->facts->kernel_only = check.id;
	/* The kernel's stack is where the kernel is. */
	if (check.id == BPF_FUNC_get_stackid && !asks_user_stack(&walk->state.regs[BPF_REG_3]) &&
	    !walk->facts->kernel_only)
		walk->facts->kernel_only = check.id;
	set_result(walk, &check);
	return 0;
}
