/* SPDX-License-Identifier: MIT */
/*
 * BTF for tests, type by type. The first type has number 1.
 */
#pragma once

#include <linux/btf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BUILD_MAX 8192

struct btf_build {
	unsigned char types[BUILD_MAX];
	char strings[BUILD_MAX];
	uint32_t type_len, string_len, cnt;
	struct {
		struct btf_header header;
		unsigned char rest[2 * BUILD_MAX];
	} out;
};

static inline void btf_put(struct btf_build *build, const void *bytes, uint32_t len)
{
	memcpy(build->types + build->type_len, bytes, len);
	build->type_len += len;
}

/* Return: its number. */
static inline uint32_t btf_type(struct btf_build *build, const char *name, uint32_t kind,
				uint32_t vlen, uint32_t size)
{
	struct btf_type type = {.info = kind << 24 | vlen, .size = size};

	if (!build->string_len)
		build->string_len = 1;
	if (name) {
		type.name_off = build->string_len;
		strcpy(build->strings + build->string_len, name);
		build->string_len += (uint32_t)strlen(name) + 1;
	}
	btf_put(build, &type, sizeof(type));
	return ++build->cnt;
}

static inline uint32_t btf_int(struct btf_build *build, const char *name, uint32_t size)
{
	const uint32_t id = btf_type(build, name, BTF_KIND_INT, 0, size), encoding = size * 8;

	btf_put(build, &encoding, sizeof(encoding));
	return id;
}

static inline uint32_t btf_array(struct btf_build *build, uint32_t of, uint32_t index, uint32_t cnt)
{
	const struct btf_array array = {.type = of, .index_type = index, .nelems = cnt};
	const uint32_t id = btf_type(build, NULL, BTF_KIND_ARRAY, 0, 0);

	btf_put(build, &array, sizeof(array));
	return id;
}

/* Members follow, by btf_member(). */
static inline uint32_t btf_struct(struct btf_build *build, const char *name, uint32_t cnt,
				  uint32_t size)
{
	return btf_type(build, name, BTF_KIND_STRUCT, cnt, size);
}

static inline void btf_member(struct btf_build *build, uint32_t type, uint32_t off)
{
	const struct btf_member member = {.type = type, .offset = off * 8};

	btf_put(build, &member, sizeof(member));
}

/* Return: bytes of @build->out. */
static inline uint32_t btf_finish(struct btf_build *build)
{
	build->out.header = (struct btf_header){.magic = BTF_MAGIC,
						.version = BTF_VERSION,
						.hdr_len = sizeof(struct btf_header),
						.type_len = build->type_len,
						.str_off = build->type_len,
						.str_len = build->string_len};
	memcpy(build->out.rest, build->types, build->type_len);
	memcpy(build->out.rest + build->type_len, build->strings, build->string_len);
	return (uint32_t)sizeof(struct btf_header) + build->type_len + build->string_len;
}
