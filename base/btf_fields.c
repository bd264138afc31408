/* SPDX-License-Identifier: MIT */
/*
 * See btf_fields.h.
 */
#include "base/btf_fields.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/btf_types.h"
#include "base/cleanup.h"

/** struct reader - @steps: that may still be made */
struct reader {
	struct btf_types types;
	uint32_t steps;
	struct btf_fields fields;
};

static const char *name_of(const struct reader *reader, const struct btf_type *type)
{
	const char *name = btf_string(&reader->types, type->name_off);

	return name ? name : "";
}

static uint32_t field_named(const char *name)
{
	static const struct {
		const char *name;
		uint32_t kind;
	} names[] = {
		{"bpf_spin_lock", BTF_FIELD_SPIN_LOCK},
		{"bpf_res_spin_lock", BTF_FIELD_RES_SPIN_LOCK},
		{"bpf_timer", BTF_FIELD_TIMER},
		{"bpf_wq", BTF_FIELD_WORKQUEUE},
		{"bpf_task_work", BTF_FIELD_TASK_WORK},
		{"bpf_list_head", BTF_FIELD_ROOT},
		{"bpf_rb_root", BTF_FIELD_ROOT},
		{"bpf_list_node", BTF_FIELD_OTHER},
		{"bpf_rb_node", BTF_FIELD_OTHER},
		{"bpf_refcount", BTF_FIELD_OTHER},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i].name) == 0)
			return names[i].kind;
	return 0;
}

/* A pointer with a tag, whichever that is: plain ones are data. */
static bool is_tagged(const struct reader *reader, struct btf_type type)
{
	const unsigned char *tail;

	if (btf_kind_of(&type) == BTF_KIND_VOLATILE &&
	    !btf_type_get(&reader->types, type.type, &type, &tail))
		return false;
	return btf_kind_of(&type) == BTF_KIND_PTR &&
	       btf_type_get(&reader->types, type.type, &type, &tail) &&
	       btf_kind_of(&type) == BTF_KIND_TYPE_TAG;
}

static int walk_struct(struct reader *reader, const struct btf_type *type,
		       const unsigned char *members, uint32_t off, int depth);

/* One member, at @off of the value. */
static int walk_field(struct reader *reader, uint32_t id, uint32_t off, int depth)
{
	const unsigned char *tail;
	struct btf_type type;
	uint32_t kind;

	for (int i = 0;; i++) {
		struct btf_array array;

		if (!reader->steps--)
			return -E2BIG;
		if (!btf_type_get(&reader->types, id, &type, &tail))
			return -EINVAL;
		if (btf_kind_of(&type) != BTF_KIND_ARRAY)
			break;
		if (i == BTF_DEPTH_MAX)
			return -E2BIG;
		memcpy(&array, tail, sizeof(array));
		if (!array.nelems)
			return 0;
		id = array.type;
	}
	kind = field_named(name_of(reader, &type));
	if (!kind && btf_kind_of(&type) == BTF_KIND_STRUCT)
		return depth + 1 < BTF_DEPTH_MAX ? walk_struct(reader, &type, tail, off, depth + 1)
						 : -E2BIG;
	if (!kind && is_tagged(reader, type))
		kind = BTF_FIELD_POINTER;
	if (kind == BTF_FIELD_SPIN_LOCK)
		reader->fields.lock_off = off;
	reader->fields.kinds |= kind;
	return 0;
}

static int walk_struct(struct reader *reader, const struct btf_type *type,
		       const unsigned char *members, uint32_t off, int depth)
{
	const bool packed = BTF_INFO_KFLAG(type->info);
	const uint32_t cnt = BTF_INFO_VLEN(type->info);

	for (uint32_t i = 0; i < cnt; i++) {
		struct btf_member member;
		uint32_t bit;
		int r;

		memcpy(&member, members + i * sizeof(member), sizeof(member));
		bit = packed ? BTF_MEMBER_BIT_OFFSET(member.offset) : member.offset;
		r = walk_field(reader, member.type, off + bit / 8, depth);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The variables of a section: a value of .bss or .data. */
static int walk_section(struct reader *reader, const struct btf_type *type,
			const unsigned char *vars)
{
	const uint32_t cnt = BTF_INFO_VLEN(type->info);

	for (uint32_t i = 0; i < cnt; i++) {
		const unsigned char *tail;
		struct btf_var_secinfo info;
		struct btf_type var;
		int r;

		memcpy(&info, vars + i * sizeof(info), sizeof(info));
		if (!btf_type_get(&reader->types, info.type, &var, &tail))
			return -EINVAL;
		r = walk_field(reader, var.type, info.offset, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

static int walk_value(struct reader *reader, uint32_t id)
{
	const unsigned char *tail;
	struct btf_type type;

	for (int i = 0;; i++) {
		if (i == BTF_DEPTH_MAX || !btf_type_get(&reader->types, id, &type, &tail))
			return -EINVAL;
		if (!btf_is_modifier(&type))
			break;
		id = type.type;
	}
	if (btf_kind_of(&type) == BTF_KIND_STRUCT)
		return walk_struct(reader, &type, tail, 0, 0);
	return btf_kind_of(&type) == BTF_KIND_DATASEC ? walk_section(reader, &type, tail) : 0;
}

int btf_fields(const void *btf, size_t len, uint32_t type_id, struct btf_fields *ret_fields)
{
	struct reader reader = {.steps = BTF_FIELDS_STEPS};
	int r = btf_types_open(&reader.types, btf, len);

	if (r == 0)
		r = walk_value(&reader, type_id);
	btf_types_close(&reader.types);
	if (r == 0)
		*ret_fields = reader.fields;
	return r;
}

#define IN_PROGRESS UINT32_MAX

/* What is looked at for one type. @costs: of structures, as far as they are known; more than
 * BTF_FIELDS_STEPS is all the same. Return: 0, or -EINVAL for one that is in itself. */
static int count_steps(const struct reader *reader, uint32_t id, uint32_t *costs, int depth,
		       uint32_t *ret_cost)
{
	const unsigned char *tail;
	struct btf_member member;
	struct btf_type type;
	uint64_t sum = 1;

	for (int i = 0;; i++) {
		struct btf_array array;

		if (i > BTF_DEPTH_MAX || !btf_type_get(&reader->types, id, &type, &tail))
			return -EINVAL;
		if (btf_kind_of(&type) != BTF_KIND_ARRAY)
			break;
		memcpy(&array, tail, sizeof(array));
		id = array.type;
	}
	*ret_cost = 1;
	if (btf_kind_of(&type) != BTF_KIND_STRUCT)
		return 0;
	if (costs[id] == IN_PROGRESS)
		return -EINVAL;
	*ret_cost = costs[id] ? costs[id] : BTF_FIELDS_STEPS + 1;
	if (costs[id] || depth == BTF_DEPTH_MAX)
		return 0;
	costs[id] = IN_PROGRESS;
	for (uint32_t i = 0; i < BTF_INFO_VLEN(type.info); i++) {
		uint32_t cost;
		int r;

		memcpy(&member, tail + i * sizeof(member), sizeof(member));
		r = count_steps(reader, member.type, costs, depth + 1, &cost);
		if (r < 0)
			return r;
		sum += cost;
	}
	costs[id] = sum > BTF_FIELDS_STEPS ? BTF_FIELDS_STEPS + 1 : (uint32_t)sum;
	*ret_cost = costs[id];
	return 0;
}

static int count_all(const struct reader *reader)
{
	cleanup_free uint32_t *costs = calloc(reader->types.cnt, sizeof(*costs));
	uint64_t sum = 0;

	if (!costs)
		return -ENOMEM;
	for (uint32_t id = 1; id < reader->types.cnt; id++) {
		uint32_t cost;
		int r = count_steps(reader, id, costs, 0, &cost);

		if (r < 0)
			return r;
		sum += cost;
	}
	return sum > BTF_FIELDS_STEPS ? -E2BIG : 0;
}

int btf_is_bounded(const void *btf, size_t len)
{
	struct reader reader = {0};
	int r = btf_types_open(&reader.types, btf, len);

	if (r == 0)
		r = count_all(&reader);
	btf_types_close(&reader.types);
	return r;
}
