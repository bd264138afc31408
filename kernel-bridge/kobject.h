/* SPDX-License-Identifier: MIT */
/*
 * Which kernel object a descriptor stands for. Numbers given by a guest are never trusted: the
 * descriptor is duplicated to us and the kernel is asked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/btf_fields.h"

enum kobject_kind {
	KOBJECT_OTHER, /* not an eBPF object */
	KOBJECT_MAP,
	KOBJECT_PROG,
	KOBJECT_BTF,
	KOBJECT_LINK,
	KOBJECT_PERF_EVENT,
	KOBJECT_SOCKET,
};

/**
 * kobject_identify() - kind and kernel id behind one of our descriptors
 * @ret_id: kernel id of a map, prog, BTF or link; 0 for the others
 *
 * Return: 0 or -errno.
 */
int kobject_identify(int fd, enum kobject_kind *ret_kind, uint32_t *ret_id);

/** kobject_open() - descriptor for a kernel id. Return: fd, owned by the caller, or -ENOENT. */
int kobject_open(enum kobject_kind kind, uint32_t id);

/** kobject_alive() - whether the kernel still has an object of this id */
bool kobject_alive(enum kobject_kind kind, uint32_t id);

/**
 * kobject_info() - BPF_OBJ_GET_INFO_BY_FD
 * @info: zeroed or prepared struct bpf_*_info
 * @len: in: room; out: what the kernel filled
 */
int kobject_info(int fd, void *info, uint32_t *len);

/**
 * kobject_btf() - the bytes of a BTF object that somebody loaded
 * @ret_bytes: owned by the caller, at most 16 MiB
 *
 * Errors: -EACCES for the kernel's own and its modules', -ENOMEM, and what the kernel says.
 */
int kobject_btf(int btf_fd, void **ret_bytes, uint32_t *ret_len);

/**
 * kobject_btf_fields() - what values of type @type_id have in them besides data
 * @btf_fd: ours, of a BTF object
 *
 * Return: 0 or -errno.
 */
int kobject_btf_fields(int btf_fd, uint32_t type_id, struct btf_fields *ret_fields);

/** kobject_is_frozen() - whether BPF_MAP_FREEZE has been called on a map, which is for ever */
bool kobject_is_frozen(int map_fd);

/** kobject_attr_size() - sizeof(union bpf_attr) of the running kernel, found by asking it */
uint32_t kobject_attr_size(void);
