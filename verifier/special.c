/* SPDX-License-Identifier: MIT */
/*
 * Map values that have more in them than data: who may use such maps, and locks.
 */
#include "verifier/special.h"

#include <errno.h>

#define LOCK_SIZE 4

static bool is_tracing(uint32_t type)
{
	return type == BPF_PROG_TYPE_KPROBE || type == BPF_PROG_TYPE_TRACEPOINT ||
	       type == BPF_PROG_TYPE_PERF_EVENT || type == BPF_PROG_TYPE_RAW_TRACEPOINT;
}

static int check_map(struct walk *walk, const struct verifier_map *map)
{
	static const struct {
		uint32_t kinds;
		const char *name;
	} untraceable[] = {
		{BTF_FIELD_ROOT, "bpf_{list_head,rb_root}"},
		{BTF_FIELD_SPIN_LOCK, "bpf_spin_lock"},
		{BTF_FIELD_TIMER, "bpf_timer"},
		{BTF_FIELD_WORKQUEUE, "bpf_wq"},
	};
	const uint32_t kinds = map->fields.kinds, type = walk->prog->type;

	if (kinds & BTF_FIELD_SPIN_LOCK && type == BPF_PROG_TYPE_SOCKET_FILTER)
		return walk_fail(walk, -EINVAL,
				 "socket filter progs cannot use bpf_spin_lock yet\n");
	for (size_t i = 0; is_tracing(type) && i < sizeof(untraceable) / sizeof(untraceable[0]);
	     i++)
		if (kinds & untraceable[i].kinds)
			return walk_fail(walk, -EINVAL, "tracing progs cannot use %s yet\n",
					 untraceable[i].name);
	if (kinds & ~(uint32_t)BTF_FIELD_SPIN_LOCK)
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: map values with timers, trees or "
				 "kernel pointers\n");
	return 0;
}

int special_check_maps(struct walk *walk)
{
	int r = 0;

	for (uint32_t i = 0; i < walk->prog->map_cnt && r == 0; i++)
		r = check_map(walk, &walk->prog->maps[i]);
	return r;
}

int special_check_access(struct walk *walk, const struct btf_fields *fields, int64_t min,
			 int64_t end)
{
	if (!(fields->kinds & BTF_FIELD_SPIN_LOCK) || end <= fields->lock_off ||
	    min >= (int64_t)fields->lock_off + LOCK_SIZE)
		return 0;
	return walk_fail(walk, -EACCES,
			 "bpf_spin_lock cannot be accessed directly by load/store\n");
}

static int find_lock(struct walk *walk, uint32_t regno)
{
	const struct reg *reg = walk_reg(walk, regno);
	struct verifier_map map;
	int64_t off;

	if (reg->type != REG_VALUE)
		return walk_fail(walk, -EACCES, "R%u type=%s expected=map_value, ptr_\n", regno,
				 reg_type_name(reg->type));
	if (!range_is_const(&reg->r64))
		return walk_fail(walk, -EINVAL,
				 "R%u doesn't have constant offset. bpf_spin_lock has to be at the "
				 "constant offset\n",
				 regno);
	map = walk_map(walk, reg);
	if (!(map.fields.kinds & BTF_FIELD_SPIN_LOCK))
		return walk_fail(walk, -EINVAL, "map has no valid bpf_spin_lock\n");
	off = reg->off + (int64_t)reg->r64.umin;
	if (off != map.fields.lock_off)
		return walk_fail(walk, -EINVAL,
				 "off %lld doesn't point to 'struct bpf_spin_lock' that is at %u\n",
				 (long long)off, map.fields.lock_off);
	return 0;
}

int special_lock(struct walk *walk, uint32_t regno)
{
	struct state *state = &walk->state;
	int r = find_lock(walk, regno);

	if (r < 0)
		return r;
	if (state->locked)
		return walk_fail(walk, -EINVAL, "Locking two bpf_spin_locks are not allowed\n");
	state->locked = true;
	state->lock_map = walk_reg(walk, regno)->map;
	state->lock_id = walk_reg(walk, regno)->id;
	return 0;
}

int special_unlock(struct walk *walk, uint32_t regno)
{
	const struct reg *reg = walk_reg(walk, regno);
	struct state *state = &walk->state;
	int r = find_lock(walk, regno);

	if (r < 0)
		return r;
	if (!state->locked)
		return walk_fail(walk, -EINVAL, "bpf_spin_unlock without taking a lock\n");
	if (state->lock_map != reg->map || state->lock_id != reg->id)
		return walk_fail(walk, -EINVAL, "bpf_spin_unlock of different lock\n");
	state->locked = false;
	state->lock_map = state->lock_id = 0;
	return 0;
}

int special_check_unlocked(struct walk *walk, const char *what)
{
	if (!walk->state.locked)
		return 0;
	return walk_fail(walk, -EINVAL, "%s cannot be used inside bpf_spin_lock-ed region\n", what);
}
