/* SPDX-License-Identifier: MIT */
/*
 * Maps of the region.
 *
 * A map has its record and its addresses from the day it is created, so that programs can be
 * compiled before it is known where they will run; memory is touched only once contents move in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel-bridge/forward.h"
#include "kernel-bridge/kobject.h"
#include "notifier/uspace.h"
#include "vm/runtime/runtime.h"

/* What a kernel array is asked for so that targets can map it; hidden from the tool again. */
#define ARRAY_FLAGS (BPF_F_MMAPABLE | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG | BPF_F_INNER_MAP)

static bool is_table(uint32_t type)
{
	return type == BPF_MAP_TYPE_PROG_ARRAY || type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
	       type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

static struct uspace_space *space_of(const struct uspace_map *map)
{
	struct uspace *uspace = map->uspace;

	/* What tells processes where to go on only we write. */
	if (is_table(map->record.type))
		return &uspace->code;
	return map->mapped || map->record.type == BPF_MAP_TYPE_RINGBUF ? &uspace->arrays
								       : &uspace->map_memory;
}

/* Addresses for the contents. Per-CPU and hash maps are memory of ours, arrays and the reader's
 * position in ring buffers are the kernel's. */
static int place(struct uspace_map *map)
{
	map->record.data = uspace_space_take(map->uspace, space_of(map), map->record.data_size);
	return map->record.data ? 0 : -ENOSPC;
}

/* Whether the map is of a kind and shape that the runtime has. */
static bool covered(const struct abi_map_create *attr)
{
	switch (attr->map_type) {
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_PROG_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_STACK_TRACE:
	case BPF_MAP_TYPE_QUEUE:
	case BPF_MAP_TYPE_STACK:
	case BPF_MAP_TYPE_BLOOM_FILTER:
	case BPF_MAP_TYPE_RINGBUF:
		return attr->map_flags == 0;
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LPM_TRIE:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
		return (attr->map_flags & ~BPF_F_NO_PREALLOC) == 0;
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		return (attr->map_flags & ~BPF_F_NO_COMMON_LRU) == 0;
	case BPF_MAP_TYPE_ARRAY:
		/* Only what targets can map; the caller asked for it, cmd_map.c. */
		return (attr->map_flags & BPF_F_MMAPABLE) && !(attr->map_flags & ~ARRAY_FLAGS);
	default:
		return false;
	}
}

/*
 * Empty, at the last moment before it is used: a thread that was stopped in a program may have
 * written there after the map that had the place before was gone.
 */
static void clear(const struct uspace_map *map)
{
	unsigned char *at = map->uspace->base + map->record.data;

	if (madvise(at, map->record.data_size, MADV_REMOVE) < 0)
		memset(at, 0, map->record.data_size);
}

static void set_resident(struct uspace_map *map, bool resident)
{
	if (atomic_exchange(&map->resident, resident) != resident)
		atomic_fetch_add(&map->uspace->resident, resident ? 1 : -1);
}

int uspace_map_new(struct uspace *uspace, const struct abi_map_create *attr, uint32_t real_id,
		   const struct uspace_map *inner, struct uspace_map **ret_map)
{
	struct uspace_map *map;
	const struct region_header *header = (void *)uspace->base;
	int r = 0;

	if (!covered(attr) ||
	    (is_table(attr->map_type) && attr->map_type != BPF_MAP_TYPE_PROG_ARRAY && !inner))
		return -EOPNOTSUPP;
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	map->uspace = uspace;
	map->refs = 1;
	map->real_id = real_id;
	map->mapped = attr->map_type == BPF_MAP_TYPE_ARRAY;
	if (inner)
		map->inner = inner->record;
	if (inner)
		map->inner_flags = inner->record.flags & ~inner->hidden_flags;
	map->record = (struct region_map){.type = attr->map_type,
					  .key_size = attr->key_size,
					  .value_size = attr->value_size,
					  .max_entries = attr->max_entries,
					  .flags = attr->map_flags,
					  .extra = (uint32_t)attr->map_extra};
	(void)!getrandom(&map->record.seed, sizeof(map->record.seed), 0);
	if (attr->map_type == BPF_MAP_TYPE_PERF_EVENT_ARRAY)
		r = uspace_outputs_new(map);
	else
		r = rt_map_layout(&map->record, header->slots);
	if (r == 0 && attr->map_type == BPF_MAP_TYPE_RINGBUF)
		r = uspace_ring_new(map);
	if (r == 0 && is_table(attr->map_type))
		r = uspace_table_new(map);
	if (r == 0)
		r = place(map);
	if (r == 0)
		map->record_offset = uspace_space_take(uspace, &uspace->code, sizeof(map->record));
	if (r == 0 && !map->record_offset)
		r = -ENOSPC;
	pthread_mutex_lock(&uspace->lock);
	if (r == 0) {
		map->record.id = ++uspace->last_map_id;
		list_append(&uspace->maps, &map->node);
	}
	pthread_mutex_unlock(&uspace->lock);
	if (r < 0) {
		uspace_space_give(uspace, space_of(map), map->record.data, map->record.data_size);
		uspace_outputs_free(map);
		uspace_ring_free(map);
		uspace_table_free(map);
		free(map);
		return r;
	}
	if (map->outputs || attr->map_type == BPF_MAP_TYPE_BLOOM_FILTER)
		clear(map);
	if (map->outputs)
		atomic_fetch_add(&uspace->output_maps, 1);
	if (map->table) {
		uspace_table_place(map);
		atomic_fetch_add(&uspace->tables, 1);
	}
	memcpy(uspace->base + map->record_offset, &map->record, sizeof(map->record));
	/* What is in a filter cannot be moved: it is filled here and in the kernel. */
	if (attr->map_type == BPF_MAP_TYPE_BLOOM_FILTER)
		set_resident(map, true);
	*ret_map = map;
	return 0;
}

int uspace_map_to_memory(struct uspace_map *map)
{
	struct uspace *uspace = map->uspace;
	uint64_t at, old = 0;

	if (!map->mapped)
		return 0;
	if (!(map->hidden_flags & BPF_F_MMAPABLE))
		return -EOPNOTSUPP;
	at = uspace_space_take(uspace, &uspace->map_memory, map->record.data_size);
	if (!at)
		return -ENOSPC;
	pthread_mutex_lock(&uspace->lock);
	if (!map->progs) {
		old = map->record.data;
		map->record.data = at;
		map->mapped = false;
		memcpy(uspace->base + map->record_offset, &map->record, sizeof(map->record));
	}
	pthread_mutex_unlock(&uspace->lock);
	uspace_space_give(uspace, old ? &uspace->arrays : &uspace->map_memory, old ? old : at,
			  map->record.data_size);
	return old ? 0 : -EOPNOTSUPP;
}

struct uspace_map *uspace_map_ref(struct uspace_map *map)
{
	__atomic_add_fetch(&map->refs, 1, __ATOMIC_RELAXED);
	return map;
}

struct uspace_map *uspace_map_by_id(struct uspace *uspace, uint32_t id)
{
	struct uspace_map *map, *found = NULL;

	pthread_mutex_lock(&uspace->lock);
	list_for_each(map, &uspace->maps, node)
	{
		if (map->record.id == id) {
			found = uspace_map_ref(map);
			break;
		}
	}
	pthread_mutex_unlock(&uspace->lock);
	return found;
}

struct uspace_map *uspace_map_unref(struct uspace_map *map)
{
	void (*give)(struct uspace *, struct uspace_space *, uint64_t, uint64_t);
	struct uspace *uspace;
	bool last;

	if (!map)
		return NULL;
	uspace = map->uspace;
	/* Not outside the lock: who finds a map in the list takes a reference, so none may be in it
	 * that has no reference any more. */
	pthread_mutex_lock(&uspace->lock);
	last = __atomic_sub_fetch(&map->refs, 1, __ATOMIC_ACQ_REL) == 0;
	if (last)
		list_remove(&map->node);
	pthread_mutex_unlock(&uspace->lock);
	if (!last)
		return NULL;
	if (atomic_load(&map->resident) || map->outputs)
		madvise(uspace->base + map->record.data, map->record.data_size, MADV_REMOVE);
	set_resident(map, false);
	if (map->outputs)
		atomic_fetch_sub(&uspace->output_maps, 1);
	if (map->table)
		atomic_fetch_sub(&uspace->tables, 1);
	uspace_outputs_free(map);
	uspace_ring_free(map);
	uspace_table_free(map);
	give = map->reached ? uspace_space_give : uspace_space_give_unused;
	give(uspace, space_of(map), map->record.data, map->record.data_size);
	give(uspace, &uspace->code, map->record_offset, sizeof(map->record));
	forward_free(map->forward);
	free(map);
	return NULL;
}

/* The event thread looks for it as soon as it is there. */
static int open_forward(struct uspace_map *map)
{
	struct forward *forward;
	int r;

	if (map->forward)
		return 0;
	r = forward_new(map->events_fd, &forward);
	if (r < 0)
		return r;
	pthread_mutex_lock(&map->uspace->lock);
	map->forward = forward;
	pthread_mutex_unlock(&map->uspace->lock);
	return 0;
}

/* Whether the map stays in the kernel, and what programs write to it is brought there. */
static bool is_forwarded(const struct region_map *record)
{
	return record->type == BPF_MAP_TYPE_PERF_EVENT_ARRAY ||
	       record->type == BPF_MAP_TYPE_RINGBUF;
}

static int settle(struct uspace_map *map, struct reason *reason)
{
	const struct region_map *record = &map->record;
	struct uspace *uspace = map->uspace;
	cleanup_fd int fd = -1;
	int r = 0;

	if (map->mapped || atomic_load(&map->resident))
		return 0;
	if (map->kernel_users && !is_forwarded(record))
		return reason_set(reason, -EOPNOTSUPP,
				  "a program in the kernel uses one of its maps too");
	if (record->type == BPF_MAP_TYPE_BLOOM_FILTER)
		return reason_set(reason, -EOPNOTSUPP,
				  "a program in the kernel has used its filter");
	fd = kobject_open(KOBJECT_MAP, map->real_id);
	if (fd < 0)
		return fd;
	if (is_forwarded(record)) {
		r = record->type == BPF_MAP_TYPE_RINGBUF ? uspace_ring_open(map, fd)
							 : open_forward(map);
		return r < 0 ? r : uspace_events_start(uspace);
	}
	clear(map);
	rt_map_init(uspace->base, record);
	set_resident(map, true);
	r = uspace_move_in(map, fd);
	if (r < 0 && record->type != BPF_MAP_TYPE_QUEUE && record->type != BPF_MAP_TYPE_STACK)
		/* The kernel still has them all. */
		set_resident(map, false);
	return r == -ETIMEDOUT ? reason_set(reason, -EBUSY,
					    "a map was changed without end by traced processes "
					    "while its contents came")
			       : r;
}

int uspace_map_settle(struct uspace_map *map, struct reason *reason)
{
	int r;

	/* Before it is open: the event thread closes what nobody uses. */
	map->users++;
	r = map->table ? uspace_table_settle(map, reason) : settle(map, reason);
	map->users -= r < 0;
	map->settled |= r == 0;
	map->reached |= r == 0;
	return r;
}

void uspace_map_leave(struct uspace_map *map)
{
	map->users--;
}

void uspace_map_kernel_enter(struct uspace_map *map)
{
	if (!map->kernel_users++)
		uspace_table_kernel_enter(map);
}

void uspace_map_kernel_leave(struct uspace_map *map)
{
	if (!--map->kernel_users)
		uspace_table_kernel_leave(map);
}

int uspace_map_return(struct uspace_map *map)
{
	cleanup_fd int fd = -1;
	int r;

	if (map->table)
		return uspace_table_return(map);
	if (!atomic_load(&map->resident))
		return 0;
	if (map->users)
		return -EBUSY;
	/* What programs pushed stays in the region; what the tool did is in the kernel as well. */
	if (map->record.type == BPF_MAP_TYPE_BLOOM_FILTER && map->settled)
		return -EOPNOTSUPP;
	fd = kobject_open(KOBJECT_MAP, map->real_id);
	if (fd < 0)
		return fd;
	r = map->record.type == BPF_MAP_TYPE_BLOOM_FILTER ? 0 : uspace_move_out(map, fd);
	if (r < 0)
		return r;
	set_resident(map, false);
	madvise(map->uspace->base + map->record.data, map->record.data_size, MADV_REMOVE);
	return 0;
}
