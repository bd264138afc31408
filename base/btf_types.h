/* SPDX-License-Identifier: MIT */
/*
 * The types of a BTF blob by their number. The bytes may be anybody's: nothing outside of them is
 * read, and what is returned has its whole tail. Numbers of other types and offsets of names are
 * not checked: whoever follows them asks again, and counts his steps.
 */
#pragma once

#include <linux/btf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* MAX_RESOLVE_DEPTH, kernel/bpf/btf.c, Linux 6.12: of modifiers, arrays, pointers in a row */
#define BTF_DEPTH_MAX 32

/**
 * struct btf_types - zeroed, it has none but void
 * @base: bytes of all types, borrowed; @at: where among them each begins, owned
 * @strings: @string_len bytes, the last of which is 0; borrowed
 * @cnt: of types, with void, whose number is 0
 */
struct btf_types {
	const unsigned char *base;
	const char *strings;
	uint32_t type_len, string_len, cnt;
	uint32_t *at;
};

/**
 * btf_types_open() - @btf: as in BPF_BTF_LOAD, @len bytes; has to live as long
 *
 * Errors: -EINVAL for BTF that the kernel would not have taken, -EOPNOTSUPP for a kind of type that
 * is not known, -ENOMEM; nothing is to be closed then. Source: btf_parse_hdr(),
 * btf_check_all_metas(), kernel/bpf/btf.c, Linux 6.12.
 */
int btf_types_open(struct btf_types *types, const void *btf, size_t len);
void btf_types_close(struct btf_types *types);

/** btf_type_get() - @ret_tail: what stands behind it, NULL for void. Return: whether there is such
 * a type */
bool btf_type_get(const struct btf_types *types, uint32_t id, struct btf_type *ret_type,
		  const unsigned char **ret_tail);
/** btf_type_skip() - the same, behind typedefs and qualifiers. Return: false for too many, too */
bool btf_type_skip(const struct btf_types *types, uint32_t id, struct btf_type *ret_type,
		   const unsigned char **ret_tail);
/** btf_string() - NULL when it would stand outside */
const char *btf_string(const struct btf_types *types, uint32_t off);

static inline uint32_t btf_kind_of(const struct btf_type *type)
{
	return BTF_INFO_KIND(type->info);
}

/** btf_is_modifier() - a typedef, qualifier or tag of the type it refers to */
bool btf_is_modifier(const struct btf_type *type);
