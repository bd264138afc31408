/* SPDX-License-Identifier: MIT */
/*
 * Global functions: verified once, for all that their type lets them be given, and not again at
 * each call. Source: btf_prepare_func_args(), btf_is_prog_ctx_type(), btf_validate_prog_ctx_type(),
 * kernel/bpf/btf.c; btf_check_func_arg_match(), check_func_call(), kernel/bpf/verifier.c,
 * Linux 6.12.
 */
#include <errno.h>
#include <string.h>

#include "verifier/context.h"
#include "verifier/dynptr.h"
#include "verifier/helpers.h"
#include "verifier/internal.h"
#include "verifier/packet.h"

#define TAG_CTX	    1u
#define TAG_NONNULL 2u
#define TAG_OTHER   4u /* trusted, untrusted, nullable, arena, or none at all */

static bool kind_is_number(uint32_t kind)
{
	return kind == BTF_KIND_INT || kind == BTF_KIND_ENUM || kind == BTF_KIND_ENUM64;
}

static const char *name_of(const struct walk *walk, const struct btf_type *type)
{
	const char *name = btf_string(&walk->types, type->name_off);

	return name ? name : "";
}

static const char *kind_name(const struct btf_type *type)
{
	/* btf_kind_str[], kernel/bpf/btf.c */
	static const char *const names[] = {
		"UNKNOWN", "INT",     "PTR",	  "ARRAY",    "STRUCT",	  "UNION", "ENUM",
		"FWD",	   "TYPEDEF", "VOLATILE", "CONST",    "RESTRICT", "FUNC",  "FUNC_PROTO",
		"VAR",	   "DATASEC", "FLOAT",	  "DECL_TAG", "TYPE_TAG", "ENUM64"};

	return btf_kind_of(type) < sizeof(names) / sizeof(names[0]) ? names[btf_kind_of(type)]
								    : "UNKNOWN";
}

/* Tags of the function's arguments, "arg:NAME" each. */
static void find_tags(const struct walk *walk, const struct subprog *subprog, uint32_t tags[5])
{
	for (uint32_t id = 1; id < walk->types.cnt; id++) {
		const unsigned char *tail;
		struct btf_type type;
		uint32_t arg;
		const char *name;

		btf_type_get(&walk->types, id, &type, &tail);
		if (btf_kind_of(&type) != BTF_KIND_DECL_TAG || type.type != subprog->type_id)
			continue;
		memcpy(&arg, tail, sizeof(arg));
		name = name_of(walk, &type);
		if (arg >= 5 || strncmp(name, "arg:", 4) != 0)
			continue;
		if (strcmp(name, "arg:ctx") == 0)
			tags[arg] |= TAG_CTX;
		else if (strcmp(name, "arg:nonnull") == 0)
			tags[arg] |= TAG_NONNULL;
		else
			tags[arg] |= TAG_OTHER;
	}
}

/* What a program of that type has as context, by name; NULL for none that has one. */
static const char *context_name(uint32_t prog_type)
{
	switch (prog_type) {
	case BPF_PROG_TYPE_SOCKET_FILTER:
	case BPF_PROG_TYPE_SCHED_CLS:
	case BPF_PROG_TYPE_SCHED_ACT:
	case BPF_PROG_TYPE_CGROUP_SKB:
		return "__sk_buff";
	case BPF_PROG_TYPE_XDP:
		return "xdp_md";
	case BPF_PROG_TYPE_KPROBE:
		return "pt_regs"; /* what bpf_user_pt_regs_t is */
	case BPF_PROG_TYPE_PERF_EVENT:
		return "bpf_perf_event_data";
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
		return "bpf_raw_tracepoint_args";
	default:
		return NULL;
	}
}

/* Whether the pointer goes to the typedef that context of probes has, whatever that is. */
static bool is_user_regs(const struct walk *walk, uint32_t id)
{
	const unsigned char *tail;
	struct btf_type type;

	for (int i = 0; i < BTF_DEPTH_MAX && btf_type_get(&walk->types, id, &type, &tail); i++) {
		if (btf_kind_of(&type) == BTF_KIND_TYPEDEF)
			return strcmp(name_of(walk, &type), "bpf_user_pt_regs_t") == 0;
		if (!btf_is_modifier(&type))
			return false;
		id = type.type;
	}
	return false;
}

static bool is_struct(const struct btf_type *type)
{
	return btf_kind_of(type) == BTF_KIND_STRUCT;
}

/* @pointee: what is pointed to. Whether that is by its name the program's context. */
static bool is_context(const struct walk *walk, uint32_t id, const struct btf_type *pointee)
{
	const uint32_t prog_type = walk->prog->type;
	const char *expected = context_name(prog_type), *name = name_of(walk, pointee);

	if (prog_type == BPF_PROG_TYPE_KPROBE && is_user_regs(walk, id))
		return true;
	if (!is_struct(pointee) || !expected)
		return false;
	if (strcmp(expected, "__sk_buff") == 0 && strcmp(name, "sk_buff") == 0)
		return true;
	if (strcmp(expected, "xdp_md") == 0 && strcmp(name, "xdp_buff") == 0)
		return true;
	return strcmp(expected, name) == 0;
}

/* What is tagged as context may have more names. */
static int check_tagged_context(struct walk *walk, uint32_t arg, uint32_t id,
				const struct btf_type *pointee)
{
	const uint32_t prog_type = walk->prog->type, kind = btf_kind_of(pointee);
	const char *expected = context_name(prog_type), *name = name_of(walk, pointee);

	if ((prog_type == BPF_PROG_TYPE_KPROBE || prog_type == BPF_PROG_TYPE_PERF_EVENT) &&
	    is_user_regs(walk, id))
		return 0;
	if (kind == BTF_KIND_UNKN)
		return 0;
	if (!*name)
		return walk_fail(walk, -EINVAL, "arg#%u type doesn't have a name\n", arg);
	if ((prog_type == BPF_PROG_TYPE_KPROBE || prog_type == BPF_PROG_TYPE_PERF_EVENT) &&
	    is_struct(pointee) && strcmp(name, "pt_regs") == 0)
		return 0;
	if (prog_type == BPF_PROG_TYPE_RAW_TRACEPOINT && kind == BTF_KIND_INT && pointee->size == 8)
		return 0;
	if (prog_type == BPF_PROG_TYPE_TRACEPOINT || prog_type == BPF_PROG_TYPE_SYSCALL)
		return 0;
	if (!expected)
		return walk_fail(walk, -EINVAL, "arg#%u should be void pointer\n", arg);
	if (!is_struct(pointee) || strcmp(expected, name) != 0)
		return walk_fail(walk, -EINVAL, "arg#%u should be `struct %s *`\n", arg, expected);
	return 0;
}

/* Source: btf_resolve_size() */
static int size_of(const struct walk *walk, uint32_t id, uint32_t *ret_size)
{
	uint64_t cnt = 1;

	for (int i = 0; i < BTF_DEPTH_MAX; i++) {
		const unsigned char *tail;
		struct btf_array array;
		struct btf_type type;
		uint64_t size;

		if (!btf_type_get(&walk->types, id, &type, &tail))
			return -EINVAL;
		switch (btf_kind_of(&type)) {
		case BTF_KIND_INT:
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
		case BTF_KIND_ENUM:
		case BTF_KIND_FLOAT:
		case BTF_KIND_ENUM64:
		case BTF_KIND_PTR:
			size = btf_kind_of(&type) == BTF_KIND_PTR ? 8 : type.size;
			if (cnt * size > UINT32_MAX)
				return -EINVAL;
			*ret_size = (uint32_t)(cnt * size);
			return 0;
		case BTF_KIND_ARRAY:
			memcpy(&array, tail, sizeof(array));
			cnt *= array.nelems;
			if (cnt > UINT32_MAX)
				return -EINVAL;
			id = array.type;
			break;
		default:
			if (!btf_is_modifier(&type))
				return -EINVAL;
			id = type.type;
		}
	}
	return -EINVAL;
}

static int bad_tags(struct walk *walk, uint32_t arg)
{
	return walk_fail(walk, -EINVAL, "arg#%u has invalid combination of tags\n", arg);
}

/* @id: of what argument @arg points to */
static int find_pointer(struct walk *walk, struct subprog *subprog, uint32_t arg, uint32_t id,
			uint32_t tags)
{
	const unsigned char *tail;
	struct btf_type pointee;
	bool known = btf_type_skip(&walk->types, id, &pointee, &tail);
	int r;

	if (!known)
		return -EINVAL;
	if (tags & TAG_CTX || is_context(walk, id, &pointee)) {
		if (tags & ~TAG_CTX)
			return bad_tags(walk, arg);
		subprog->args[arg] = FUNC_CTX;
		return tags ? check_tagged_context(walk, arg, id, &pointee) : 0;
	}
	if (is_struct(&pointee) && strcmp(name_of(walk, &pointee), "bpf_dynptr") == 0) {
		subprog->args[arg] = FUNC_DYNPTR;
		return tags ? bad_tags(walk, arg) : 0;
	}
	r = size_of(walk, id, &subprog->arg_sizes[arg]);
	if (r < 0)
		return walk_fail(walk, r,
				 "arg#%u reference type('%s %s') size cannot be determined: %d\n",
				 arg, kind_name(&pointee), name_of(walk, &pointee), r);
	subprog->args[arg] = tags & TAG_NONNULL ? FUNC_MEMORY : FUNC_MEMORY_OR_NULL;
	return 0;
}

static int find_arg(struct walk *walk, struct subprog *subprog, uint32_t arg, uint32_t id,
		    uint32_t tags)
{
	const unsigned char *tail;
	struct btf_type type;

	if (tags & TAG_OTHER)
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: tags of arg#%u\n", arg);
	if (!btf_type_skip(&walk->types, id, &type, &tail))
		return -EINVAL;
	if (btf_kind_of(&type) == BTF_KIND_PTR)
		return find_pointer(walk, subprog, arg, type.type, tags);
	if (tags)
		return walk_fail(walk, -EINVAL,
				 "arg#%u has pointer tag, but is not a pointer type\n", arg);
	subprog->args[arg] = FUNC_NUMBER;
	if (kind_is_number(btf_kind_of(&type)))
		return 0;
	return walk_fail(walk, -EINVAL, "Arg#%u type %s in %s() is not supported yet.\n", arg,
			 kind_name(&type), subprog->name);
}

static int find_args(struct walk *walk, struct subprog *subprog)
{
	uint32_t tags[5] = {0};
	const unsigned char *tail, *params;
	struct btf_type func, proto, ret;
	uint32_t cnt;

	if (subprog->args_known)
		return 0;
	/* info.c has seen both. */
	btf_type_get(&walk->types, subprog->type_id, &func, &tail);
	btf_type_get(&walk->types, func.type, &proto, &params);
	cnt = BTF_INFO_VLEN(proto.info);
	if (cnt > 5)
		return walk_fail(walk, -EINVAL,
				 "Global function %s() with %u > 5 args. Buggy compiler.\n",
				 subprog->name, cnt);
	if (!btf_type_skip(&walk->types, proto.type, &ret, &tail) ||
	    !kind_is_number(btf_kind_of(&ret)))
		return walk_fail(walk, -EINVAL,
				 "Global function %s() doesn't return scalar. Only those are "
				 "supported.\n",
				 subprog->name);
	find_tags(walk, subprog, tags);
	for (uint32_t i = 0; i < cnt; i++) {
		struct btf_param param;
		int r;

		memcpy(&param, params + i * sizeof(param), sizeof(param));
		r = find_arg(walk, subprog, i, param.type, tags[i]);
		if (r < 0)
			return r;
	}
	subprog->arg_cnt = (uint8_t)cnt;
	subprog->args_known = true;
	return 0;
}

void global_note_main(struct walk *walk)
{
	if (walk->subprogs[0].global)
		find_args(walk, &walk->subprogs[0]);
}

/* Source: check_mem_reg(): it may be read and written, unless it is null */
static int check_memory(struct walk *walk, uint32_t regno, uint32_t arg, uint32_t size,
			bool may_be_null)
{
	struct reg *reg = walk_reg(walk, regno);
	const struct reg saved = *reg;
	const bool or_null = reg->type == REG_VALUE_OR_NULL || reg->type == REG_RECORD_OR_NULL ||
			     reg->type == REG_SLICE_OR_NULL;
	int r;

	/* What is found in a map of maps is a map, and no memory. */
	if (reg->type == REG_VALUE_OR_NULL && !reg->inner && walk->prog->maps[reg->map].inner.type)
		return walk_fail(walk, -EINVAL,
				 "R%u type=map_ptr expected=fp, pkt, map_value, mem\n", regno);

	if (reg_is_const(reg) && !reg->r64.umin) {
		need_value(walk, reg);
		r = 0;
	} else if (reg->type == REG_CTX && context_is_memory(walk->prog->type)) {
		r = memory_context(walk, regno, size);
	} else {
		/* Each of them stands behind the one that cannot be null. */
		reg->type = (uint8_t)(reg->type - or_null);
		r = memory_range(walk, regno, size, size, false);
		if (r == 0)
			r = memory_range(walk, regno, size, size, true);
		*walk_reg(walk, regno) = saved;
	}
	if (r < 0)
		return r == -ENOMEM ? r : -EINVAL;
	if (!may_be_null && or_null)
		return walk_fail(walk, -EINVAL, "arg#%u is expected to be non-NULL\n", arg);
	return 0;
}

static int check_arg(struct walk *walk, const struct subprog *subprog, uint32_t arg)
{
	const uint32_t regno = arg + 1;
	const struct reg *reg = walk_reg(walk, regno);
	uint32_t id;

	if (subprog->args[arg] != FUNC_NUMBER && reg->type == REG_CTX && reg->off)
		return walk_fail(walk, -EACCES,
				 "dereference of modified ctx ptr R%u off=%d disallowed\n", regno,
				 reg->off);
	switch (subprog->args[arg]) {
	case FUNC_NUMBER:
		if (reg->type != REG_SCALAR)
			return walk_fail(walk, -EINVAL, "R%u is not a scalar\n", regno);
		return 0;
	case FUNC_CTX:
		if (reg->type != REG_CTX)
			return walk_fail(walk, -EINVAL, "arg#%u expects pointer to ctx\n", arg);
		return 0;
	case FUNC_DYNPTR:
		return dynptr_use(walk, regno, DYNPTR_ANY, &id);
	default:
		return check_memory(walk, regno, arg, subprog->arg_sizes[arg],
				    subprog->args[arg] == FUNC_MEMORY_OR_NULL);
	}
}

static int check_args(struct walk *walk, struct subprog *subprog)
{
	int r = find_args(walk, subprog);

	for (uint32_t i = 0; i < subprog->arg_cnt && r == 0; i++)
		r = check_arg(walk, subprog, i);
	return r;
}

/* Whether it, or what it calls, has a helper that may move the packet. The calls have no circle,
 * but may meet again and again: @seen. */
static bool moves_packet(const struct walk *walk, uint32_t index, bool *seen)
{
	const uint32_t end =
		index + 1 < walk->subprog_cnt ? walk->subprogs[index + 1].start : walk->prog->cnt;

	if (seen[index])
		return false;
	seen[index] = true;
	for (uint32_t i = walk->subprogs[index].start; i < end; i++) {
		const struct bpf_insn *insn = &walk->prog->insns[i];
		const struct helper_row *row = NULL;

		if (insn_is_call(insn) && !insn->src_reg)
			row = helper_row((uint32_t)insn->imm);
		/* Another program may do it. */
		if (insn_is_tail_call(insn) || (row && row->moves_packet))
			return true;
		if ((insn_calls(insn) || insn_is_func(insn)) &&
		    moves_packet(walk, cfg_subprog(walk, (uint32_t)insn_target(insn, i)), seen))
			return true;
	}
	return false;
}

int global_call(struct walk *walk, uint32_t index)
{
	struct subprog *subprog = &walk->subprogs[index];
	bool seen[SUBPROGS_MAX] = {false};
	int r = check_args(walk, subprog);

	if (r == 0 && walk->state.locked)
		return walk_fail(walk, -EINVAL,
				 "global function calls are not allowed while holding a lock,\n"
				 "use static function instead\n");
	if (r < 0)
		return walk_fail(walk, r, "Caller passes invalid args into func#%u ('%s')\n", index,
				 subprog->name);
	if (walk->level & (VERIFIER_LOG_LEVEL1 | VERIFIER_LOG_LEVEL2))
		walk_say(walk, "Func#%u ('%s') is global and assumed valid.\n", index,
			 subprog->name);
	subprog->called = true;
	if (moves_packet(walk, index, seen))
		r = packet_moved(&walk->state);
	for (uint32_t i = 0; i <= 5; i++)
		reg_set_none(walk_reg(walk, i));
	reg_set_unknown(walk_reg(walk, 0));
	return r;
}

int global_enter(struct walk *walk, uint32_t index)
{
	struct subprog *subprog = &walk->subprogs[index];
	int r = find_args(walk, subprog);

	for (uint32_t i = 0; i < subprog->arg_cnt && r == 0; i++) {
		struct reg *reg = walk_reg(walk, i + 1);

		*reg = (struct reg){.r64 = range_const(0, 64)};
		switch (subprog->args[i]) {
		case FUNC_NUMBER:
			reg_set_unknown(reg);
			break;
		case FUNC_CTX:
			reg->type = REG_CTX;
			break;
		case FUNC_DYNPTR:
			reg->type = REG_DYNPTR;
			reg->map = DYNPTR_LOCAL;
			reg->id = ++walk->last_id;
			break;
		default:
			reg->type = REG_SLICE;
			if (subprog->args[i] == FUNC_MEMORY_OR_NULL) {
				reg->type = REG_SLICE_OR_NULL;
				reg->id = ++walk->last_id;
			}
			reg->size = subprog->arg_sizes[i];
		}
	}
	return r;
}
