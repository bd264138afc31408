/* SPDX-License-Identifier: MIT */
/*
 * Contents of a map on their way between the tool's kernel map and the region, called by
 * uspace_map.c: into the region before the first program is attached, back when a program in the
 * kernel needs them.
 *
 * The region's @apply is held meanwhile, so a move is given up (-ETIMEDOUT) that takes longer than
 * any honest one: processes of the tenant may make the map's memory say anything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/uspace.h"
#include "notifier/uspace_limit.h"
#include "vm/runtime/runtime.h"

static bool is_array(const struct region_map *record)
{
	return record->type == BPF_MAP_TYPE_ARRAY || record->type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static int copy_in(struct uspace_map *map, int fd)
{
	const struct region_map *record = &map->record;
	size_t value_size = (size_t)record->value_stride * (record->slots ? record->slots : 1);
	cleanup_free unsigned char *key = calloc(2, record->key_size);
	cleanup_free unsigned char *value = malloc(value_size);
	unsigned char *next = key + record->key_size;
	struct abi_map_elem attr = {.map_fd = (uint32_t)fd};
	struct uspace_limit limit = uspace_limit_start(record, record->max_entries);
	bool first = true;
	int r;

	if (!key || !value)
		return -ENOMEM;
	for (uint64_t i = 0; i <= record->max_entries; i++) {
		if (uspace_limit_over(&limit))
			return -ETIMEDOUT;
		attr.key = first ? 0 : (uintptr_t)key;
		attr.value = (uintptr_t)next;
		if (sys_bpf(BPF_MAP_GET_NEXT_KEY, &attr, sizeof(attr)) < 0)
			return 0;
		memcpy(key, next, record->key_size);
		first = false;
		attr.key = (uintptr_t)key;
		attr.value = (uintptr_t)value;
		if (sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) < 0)
			continue;
		/* The elements of an array are there already; in a hash a newer value of the
		 * tool's wins. */
		r = rt_map_write(map->uspace->base, record, key, value,
				 is_array(record) ? BPF_ANY : BPF_NOEXIST);
		if (r < 0 && r != -EEXIST)
			return r;
	}
	return 0;
}

/* The kernel's map still has what was in when the contents left. Each element leads to the next
 * before it goes: looked for from the beginning, that would be further away each time. */
static int empty(struct uspace_map *map, int fd)
{
	const struct region_map *record = &map->record;
	cleanup_free unsigned char *keys = calloc(2, record->key_size);
	unsigned char *key = keys, *next = keys + record->key_size;
	struct abi_map_elem attr = {.map_fd = (uint32_t)fd};
	bool more;

	if (!keys)
		return -ENOMEM;
	/* Elements of arrays are not deleted, each is written anew. */
	if (is_array(record))
		return 0;
	attr.value = (uintptr_t)key;
	more = sys_bpf(BPF_MAP_GET_NEXT_KEY, &attr, sizeof(attr)) == 0;
	for (uint64_t i = 0; more && i <= record->max_entries; i++) {
		unsigned char *gone = key;
		int r;

		attr.key = (uintptr_t)key;
		attr.value = (uintptr_t)next;
		more = sys_bpf(BPF_MAP_GET_NEXT_KEY, &attr, sizeof(attr)) == 0;
		attr.value = 0;
		r = sys_bpf(BPF_MAP_DELETE_ELEM, &attr, sizeof(attr));
		if (r < 0 && r != -ENOENT)
			return r;
		key = next;
		next = gone;
	}
	return 0;
}

static int copy_out(struct uspace_map *map, int fd)
{
	const struct region_map *record = &map->record;
	unsigned char *base = map->uspace->base;
	size_t value_size = (size_t)record->value_stride * (record->slots ? record->slots : 1);
	cleanup_free unsigned char *key = calloc(2, record->key_size);
	cleanup_free unsigned char *value = malloc(value_size);
	struct abi_map_elem attr = {.map_fd = (uint32_t)fd};
	struct uspace_limit limit = uspace_limit_start(record, record->max_entries);
	bool first = true;

	if (!key || !value)
		return -ENOMEM;
	for (uint64_t i = 0; i <= record->max_entries; i++) {
		unsigned char *next = key + record->key_size;
		int r;

		if (uspace_limit_over(&limit))
			return -ETIMEDOUT;
		if (rt_map_next_key(base, record, first ? NULL : key, next) < 0)
			return 0;
		memcpy(key, next, record->key_size);
		first = false;
		if (rt_map_read(base, record, key, value) < 0)
			continue;
		attr.key = (uintptr_t)key;
		attr.value = (uintptr_t)value;
		r = sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_queue(const struct region_map *record)
{
	return record->type == BPF_MAP_TYPE_QUEUE || record->type == BPF_MAP_TYPE_STACK;
}

/** struct end - one side of a move: the kernel's map @fd, or (-1) the region's */
struct end {
	struct uspace_map *map;
	int fd;
};

static int end_pop(const struct end *end, void *value)
{
	struct abi_map_elem attr = {.map_fd = (uint32_t)end->fd, .value = (uintptr_t)value};

	if (end->fd < 0)
		return rt_map_pop(end->map->uspace->base, &end->map->record, value, RT_ALL_SLOTS);
	return sys_bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &attr, sizeof(attr));
}

static int end_push(const struct end *end, const void *value)
{
	struct abi_map_elem attr = {.map_fd = (uint32_t)end->fd, .value = (uintptr_t)value};

	if (end->fd < 0)
		return rt_map_write(end->map->uspace->base, &end->map->record, NULL, value, 0);
	return sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
}

/*
 * A value can be seen only by taking it out; what a stack gives first goes in last. What does not
 * come in time stays where it is: only the tenant's own processes can bring that about.
 */
static int move_queue(struct uspace_map *map, const struct end *from, const struct end *to)
{
	const struct region_map *record = &map->record;
	cleanup_free unsigned char *values =
		malloc((size_t)record->max_entries * record->value_size);
	struct uspace_limit limit = uspace_limit_start(record, record->max_entries);
	uint32_t cnt = 0;
	int r = 0;

	if (!values)
		return -ENOMEM;
	while (cnt < record->max_entries && !uspace_limit_over(&limit) &&
	       end_pop(from, values + (size_t)cnt * record->value_size) == 0)
		cnt++;
	for (uint32_t i = 0; i < cnt && r == 0; i++) {
		uint32_t next = record->type == BPF_MAP_TYPE_STACK ? cnt - 1 - i : i;

		r = to->fd < 0 && uspace_limit_over(&limit)
			    ? -ETIMEDOUT
			    : end_push(to, values + (size_t)next * record->value_size);
	}
	return r;
}

int uspace_move_in(struct uspace_map *map, int fd)
{
	const struct end kernel = {map, fd}, region = {map, -1};

	return is_queue(&map->record) ? move_queue(map, &kernel, &region) : copy_in(map, fd);
}

int uspace_move_out(struct uspace_map *map, int fd)
{
	const struct end kernel = {map, fd}, region = {map, -1};

	int r;

	if (is_queue(&map->record))
		return move_queue(map, &region, &kernel);
	r = empty(map, fd);
	return r < 0 ? r : copy_out(map, fd);
}
