/* SPDX-License-Identifier: MIT */
/*
 * What a map's values have in them that is no plain data: locks, timers, pointers of the kernel. As
 * the kernel finds them in BTF. The bytes may be anybody's: nothing is read outside of them, and no
 * more is looked at than BTF_FIELDS_STEPS allow.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BTF_FIELDS_STEPS (1u << 20) /* members, of structures in structures each time */

enum btf_field {
	BTF_FIELD_SPIN_LOCK = 1 << 0,
	BTF_FIELD_RES_SPIN_LOCK = 1 << 1,
	BTF_FIELD_TIMER = 1 << 2,
	BTF_FIELD_WORKQUEUE = 1 << 3,
	BTF_FIELD_TASK_WORK = 1 << 4,
	BTF_FIELD_ROOT = 1 << 5,    /* bpf_list_head, bpf_rb_root */
	BTF_FIELD_POINTER = 1 << 6, /* of the kernel, or to memory of a process */
	BTF_FIELD_OTHER = 1 << 7,
};

/**
 * struct btf_fields
 * @kinds: bit per enum btf_field
 * @lock_off: offset of the bpf_spin_lock (bytes), if there is one
 */
struct btf_fields {
	uint32_t kinds, lock_off;
};

/**
 * btf_fields() - of values of type @type_id
 * @btf: as in BPF_BTF_LOAD, @len bytes
 *
 * Return: 0, or -EINVAL for BTF that the kernel would not have taken, -E2BIG for more than can be
 * looked at, -ENOMEM. Source: btf_parse_fields(), kernel/bpf/btf.c, Linux 6.12 and 6.18.
 */
int btf_fields(const void *btf, size_t len, uint32_t type_id, struct btf_fields *ret_fields);

/**
 * btf_is_bounded() - that the kernel will not look for fields for hours
 *
 * It visits a structure as often as it is a member, of members as well: with structures of no bytes
 * a few lines of BTF keep it busy for years, in BPF_BTF_LOAD and BPF_MAP_CREATE, where nothing ends
 * it. (Linux 6.18: btf_parse_struct_metas(), btf_find_nested_struct(), kernel/bpf/btf.c)
 *
 * Return: 0, or -E2BIG for more than BTF_FIELDS_STEPS, -EINVAL for BTF that the kernel refuses
 * before it looks for any, -EOPNOTSUPP for a kind of type that is not known, -ENOMEM.
 */
int btf_is_bounded(const void *btf, size_t len);
