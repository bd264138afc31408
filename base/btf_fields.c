/* SPDX-License-Identifier: MIT */
/*
 * See btf_fields.h.
 */
#include "base/btf_fields.h"

#include <assert.h>
#include <errno.h>
#include <linux/btf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define DEPTH_MAX 32 /* MAX_RESOLVE_DEPTH, kernel/bpf/btf.c */

/**
 * struct reader
 * @types: where each begins, in the bytes of all types at @base; [0] is void
 * @steps: that may still be made
 */
struct reader {
	const unsigned char *base;
	const char *strings;
	uint32_t type_len, string_len, cnt, steps;
	uint32_t *types;
	struct btf_fields fields;
};

static const struct btf_type void_type;

static uint32_t kind_of(const struct btf_type *type)
{
	return BTF_INFO_KIND(type->info);
}

/* Bytes behind a type; -EOPNOTSUPP for a kind that is not known. */
static int64_t tail_size(const struct btf_type *type)
{
	const int64_t cnt = BTF_INFO_VLEN(type->info);

	switch (kind_of(type)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_DATASEC:
	case BTF_KIND_ENUM64:
		return cnt * 12;
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		return cnt * 8;
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}
static_assert(sizeof(struct btf_member) == 12 && sizeof(struct btf_var_secinfo) == 12 &&
		      sizeof(struct btf_enum64) == 12,
	      "of one size");

static int open_sections(struct reader *reader, const unsigned char *btf, size_t len)
{
	struct btf_header header;
	uint64_t rest;

	if (len < sizeof(header))
		return -EINVAL;
	memcpy(&header, btf, sizeof(header));
	if (header.magic != BTF_MAGIC || header.hdr_len < sizeof(header) || header.hdr_len > len)
		return -EINVAL;
	rest = len - header.hdr_len;
	if ((uint64_t)header.type_off + header.type_len > rest ||
	    (uint64_t)header.str_off + header.str_len > rest || header.type_off % 4 ||
	    !header.str_len || btf[header.hdr_len + header.str_off + header.str_len - 1])
		return -EINVAL;
	reader->base = btf + header.hdr_len + header.type_off;
	reader->type_len = header.type_len;
	reader->strings = (const char *)btf + header.hdr_len + header.str_off;
	reader->string_len = header.str_len;
	return 0;
}

static int index_types(struct reader *reader)
{
	uint64_t at = 0;

	reader->types = calloc(reader->type_len / sizeof(struct btf_type) + 1, sizeof(uint32_t));
	if (!reader->types)
		return -ENOMEM;
	reader->cnt = 1;
	while (at + sizeof(struct btf_type) <= reader->type_len) {
		struct btf_type type;
		int64_t tail;

		memcpy(&type, reader->base + at, sizeof(type));
		tail = tail_size(&type);
		if (tail < 0)
			return (int)tail;
		if (at + sizeof(type) + (uint64_t)tail > reader->type_len)
			return -EINVAL;
		reader->types[reader->cnt++] = (uint32_t)at;
		at += sizeof(type) + (uint64_t)tail;
	}
	return at == reader->type_len ? 0 : -EINVAL;
}

/* @ret_tail: what stands behind it. Return: whether there is such a type. */
static bool get_type(const struct reader *reader, uint32_t id, struct btf_type *ret_type,
		     const unsigned char **ret_tail)
{
	*ret_type = void_type;
	*ret_tail = NULL;
	if (id >= reader->cnt)
		return false;
	if (!id)
		return true;
	memcpy(ret_type, reader->base + reader->types[id], sizeof(*ret_type));
	*ret_tail = reader->base + reader->types[id] + sizeof(*ret_type);
	return true;
}

static const char *name_of(const struct reader *reader, const struct btf_type *type)
{
	return type->name_off < reader->string_len ? reader->strings + type->name_off : "";
}

static bool is_modifier(const struct btf_type *type)
{
	const uint32_t kind = kind_of(type);

	return kind == BTF_KIND_TYPEDEF || kind == BTF_KIND_VOLATILE || kind == BTF_KIND_CONST ||
	       kind == BTF_KIND_RESTRICT || kind == BTF_KIND_TYPE_TAG;
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

	if (kind_of(&type) == BTF_KIND_VOLATILE && !get_type(reader, type.type, &type, &tail))
		return false;
	return kind_of(&type) == BTF_KIND_PTR && get_type(reader, type.type, &type, &tail) &&
	       kind_of(&type) == BTF_KIND_TYPE_TAG;
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
		if (!get_type(reader, id, &type, &tail))
			return -EINVAL;
		if (kind_of(&type) != BTF_KIND_ARRAY)
			break;
		if (i == DEPTH_MAX)
			return -E2BIG;
		memcpy(&array, tail, sizeof(array));
		if (!array.nelems)
			return 0;
		id = array.type;
	}
	kind = field_named(name_of(reader, &type));
	if (!kind && kind_of(&type) == BTF_KIND_STRUCT)
		return depth + 1 < DEPTH_MAX ? walk_struct(reader, &type, tail, off, depth + 1)
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
		if (!get_type(reader, info.type, &var, &tail))
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
		if (i == DEPTH_MAX || !get_type(reader, id, &type, &tail))
			return -EINVAL;
		if (!is_modifier(&type))
			break;
		id = type.type;
	}
	if (kind_of(&type) == BTF_KIND_STRUCT)
		return walk_struct(reader, &type, tail, 0, 0);
	return kind_of(&type) == BTF_KIND_DATASEC ? walk_section(reader, &type, tail) : 0;
}

int btf_fields(const void *btf, size_t len, uint32_t type_id, struct btf_fields *ret_fields)
{
	struct reader reader = {.steps = BTF_FIELDS_STEPS};
	int r = open_sections(&reader, btf, len);

	if (r == 0)
		r = index_types(&reader);
	if (r == 0)
		r = walk_value(&reader, type_id);
	free(reader.types);
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

		if (i > DEPTH_MAX || !get_type(reader, id, &type, &tail))
			return -EINVAL;
		if (kind_of(&type) != BTF_KIND_ARRAY)
			break;
		memcpy(&array, tail, sizeof(array));
		id = array.type;
	}
	*ret_cost = 1;
	if (kind_of(&type) != BTF_KIND_STRUCT)
		return 0;
	if (costs[id] == IN_PROGRESS)
		return -EINVAL;
	*ret_cost = costs[id] ? costs[id] : BTF_FIELDS_STEPS + 1;
	if (costs[id] || depth == DEPTH_MAX)
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
	cleanup_free uint32_t *costs = calloc(reader->cnt, sizeof(*costs));
	uint64_t sum = 0;

	if (!costs)
		return -ENOMEM;
	for (uint32_t id = 1; id < reader->cnt; id++) {
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
	int r = open_sections(&reader, btf, len);

	if (r == 0)
		r = index_types(&reader);
	if (r == 0)
		r = count_all(&reader);
	free(reader.types);
	return r;
}
