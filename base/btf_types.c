/* SPDX-License-Identifier: MIT */
/*
 * See btf_types.h.
 */
#include "base/btf_types.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bytes behind a type; -EOPNOTSUPP for a kind that is not known. */
static int64_t tail_size(const struct btf_type *type)
{
	const int64_t cnt = BTF_INFO_VLEN(type->info);

	switch (btf_kind_of(type)) {
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

static int open_sections(struct btf_types *types, const unsigned char *btf, size_t len)
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
	types->base = btf + header.hdr_len + header.type_off;
	types->type_len = header.type_len;
	types->strings = (const char *)btf + header.hdr_len + header.str_off;
	types->string_len = header.str_len;
	return 0;
}

static int index_types(struct btf_types *types)
{
	uint64_t at = 0;

	types->at = calloc(types->type_len / sizeof(struct btf_type) + 1, sizeof(uint32_t));
	if (!types->at)
		return -ENOMEM;
	types->cnt = 1;
	while (at + sizeof(struct btf_type) <= types->type_len) {
		struct btf_type type;
		int64_t tail;

		memcpy(&type, types->base + at, sizeof(type));
		tail = tail_size(&type);
		if (tail < 0)
			return (int)tail;
		if (at + sizeof(type) + (uint64_t)tail > types->type_len)
			return -EINVAL;
		types->at[types->cnt++] = (uint32_t)at;
		at += sizeof(type) + (uint64_t)tail;
	}
	return at == types->type_len ? 0 : -EINVAL;
}

int btf_types_open(struct btf_types *types, const void *btf, size_t len)
{
	int r;

	*types = (struct btf_types){0};
	r = open_sections(types, btf, len);
	if (r == 0)
		r = index_types(types);
	if (r < 0)
		btf_types_close(types);
	return r;
}

void btf_types_close(struct btf_types *types)
{
	free(types->at);
	*types = (struct btf_types){0};
}

bool btf_type_get(const struct btf_types *types, uint32_t id, struct btf_type *ret_type,
		  const unsigned char **ret_tail)
{
	*ret_type = (struct btf_type){0};
	*ret_tail = NULL;
	if (!id)
		return true;
	if (id >= types->cnt)
		return false;
	memcpy(ret_type, types->base + types->at[id], sizeof(*ret_type));
	*ret_tail = types->base + types->at[id] + sizeof(*ret_type);
	return true;
}

bool btf_type_skip(const struct btf_types *types, uint32_t id, struct btf_type *ret_type,
		   const unsigned char **ret_tail)
{
	for (int i = 0; i < BTF_DEPTH_MAX; i++) {
		if (!btf_type_get(types, id, ret_type, ret_tail))
			return false;
		if (!btf_is_modifier(ret_type))
			return true;
		id = ret_type->type;
	}
	return false;
}

const char *btf_string(const struct btf_types *types, uint32_t off)
{
	return off < types->string_len ? types->strings + off : NULL;
}

bool btf_is_modifier(const struct btf_type *type)
{
	const uint32_t kind = btf_kind_of(type);

	return kind == BTF_KIND_TYPEDEF || kind == BTF_KIND_VOLATILE || kind == BTF_KIND_CONST ||
	       kind == BTF_KIND_RESTRICT || kind == BTF_KIND_TYPE_TAG;
}
