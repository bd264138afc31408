/* SPDX-License-Identifier: MIT */
/*
 * Element commands of the tool on maps whose contents are in the region, with the checks of
 * kernel/bpf/syscall.c in their order (Linux 6.18).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "kernel-bridge/kobject.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "notifier/uspace_elem.h"
#include "vm/runtime/runtime.h"

/* BPF_F_LOCK is for values with a lock in them, which maps of the region do not have. */
#define UPDATE_FLAGS_MAX BPF_EXIST

/* One command on its way. */
struct elem {
	struct call *call;
	struct uspace_map *map;
	unsigned char *key, *value;
	size_t value_size; /* as the tool sees it: all possible CPUs' values */
};

static bool per_cpu(const struct region_map *record)
{
	return record->type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       record->type == BPF_MAP_TYPE_PERCPU_HASH ||
	       record->type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/* The address of a key that has no bytes must be 0: __bpf_copy_key(). */
static int read_key(struct elem *elem, uint64_t addr)
{
	if (!elem->map->record.key_size && addr)
		return -EINVAL;
	return guest_read(&elem->call->guest, addr, elem->key, elem->map->record.key_size);
}

static bool is_filter(const struct region_map *record)
{
	return record->type == BPF_MAP_TYPE_BLOOM_FILTER;
}

/* The value is what is asked for. The kernel's filter has what programs there have pushed. */
static int filter_lookup(struct elem *elem, const struct abi_map_elem *attr)
{
	int r = guest_read(&elem->call->guest, attr->value, elem->value, elem->value_size);

	if (r == 0)
		r = rt_map_read(elem->map->uspace->base, &elem->map->record, NULL, elem->value);
	return r == -ENOENT ? CALL_CONTINUE : r;
}

static int elem_lookup(struct elem *elem, const struct abi_map_elem *attr)
{
	int r;

	if (attr->flags & ~(uint64_t)BPF_F_LOCK || attr->flags)
		return -EINVAL;
	r = read_key(elem, attr->key);
	if (r == 0 && is_filter(&elem->map->record))
		return filter_lookup(elem, attr);
	if (r == 0)
		r = rt_map_read(elem->map->uspace->base, &elem->map->record, elem->key,
				elem->value);
	if (r == 0)
		r = guest_write(&elem->call->guest, attr->value, elem->value, elem->value_size);
	return r;
}

static int elem_update(struct elem *elem, const struct abi_map_elem *attr)
{
	int r = read_key(elem, attr->key);

	if (r == 0)
		r = guest_read(&elem->call->guest, attr->value, elem->value, elem->value_size);
	if (r == 0 && !guest_valid(&elem->call->guest))
		r = -ESRCH;
	if (r == 0 && attr->flags > UPDATE_FLAGS_MAX)
		r = -EINVAL;
	if (r == 0)
		r = rt_map_write(elem->map->uspace->base, &elem->map->record, elem->key,
				 elem->value, attr->flags);
	if (r == 0 && is_filter(&elem->map->record))
		return CALL_CONTINUE;
	return r;
}

static int elem_delete(struct elem *elem, const struct abi_map_elem *attr)
{
	int r = read_key(elem, attr->key);

	if (r == 0 && !guest_valid(&elem->call->guest))
		r = -ESRCH;
	return r < 0 ? r
		     : rt_map_delete(elem->map->uspace->base, &elem->map->record, elem->key,
				     RT_ALL_SLOTS);
}

static int elem_next_key(struct elem *elem, const struct abi_map_elem *attr)
{
	int r = attr->key ? read_key(elem, attr->key) : 0;

	if (r == 0)
		r = rt_map_next_key(elem->map->uspace->base, &elem->map->record,
				    attr->key ? elem->key : NULL, elem->value);
	if (r == 0)
		r = guest_write(&elem->call->guest, attr->value, elem->value,
				elem->map->record.key_size);
	return r;
}

static int elem_pop(struct elem *elem, const struct abi_map_elem *attr)
{
	int r = read_key(elem, attr->key);

	if (r == 0 && !guest_valid(&elem->call->guest))
		r = -ESRCH;
	if (r == 0)
		r = rt_map_pop(elem->map->uspace->base, &elem->map->record, elem->value,
			       RT_ALL_SLOTS);
	if (r == 0)
		r = guest_write(&elem->call->guest, attr->value, elem->value, elem->value_size);
	return r;
}

/*
 * One step, so that nothing is lost that programs add meanwhile. What cannot be written is gone, as
 * in the kernel: map_lookup_and_delete_elem() copies to the tool when the element is out.
 */
static int elem_take(struct elem *elem, const struct abi_map_elem *attr)
{
	int r = read_key(elem, attr->key);

	if (r == 0 && !guest_valid(&elem->call->guest))
		r = -ESRCH;
	if (r == 0)
		r = rt_map_take(elem->map->uspace->base, &elem->map->record, elem->key,
				elem->value);
	if (r == 0)
		r = guest_write(&elem->call->guest, attr->value, elem->value, elem->value_size);
	return r;
}

static int elem_lookup_and_delete(struct elem *elem, const struct abi_map_elem *attr)
{
	const struct region_map *record = &elem->map->record;
	int r;

	if (attr->flags)
		return -EINVAL;
	switch (record->type) {
	case BPF_MAP_TYPE_QUEUE:
	case BPF_MAP_TYPE_STACK:
		return elem_pop(elem, attr);
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_LPM_TRIE:
	case BPF_MAP_TYPE_BLOOM_FILTER:
		r = read_key(elem, attr->key);
		return r < 0 ? r : -ABI_ENOTSUPP;
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		return elem_take(elem, attr);
	default:
		r = elem_lookup(elem, attr);
		return r < 0 ? r : elem_delete(elem, attr);
	}
}

size_t uspace_elem_value_size(const struct region_map *record)
{
	return per_cpu(record) ? (size_t)record->value_stride * record->slots : record->value_size;
}

struct uspace_map *uspace_elem_map(struct call *call, int guest_fd)
{
	cleanup_fd int fd = guest_get_fd(&call->guest, guest_fd);
	struct uspace_map *map = NULL;
	enum kobject_kind kind;
	struct object *object;
	uint32_t real_id;

	if (fd < 0 || kobject_identify(fd, &kind, &real_id) < 0 || kind != KOBJECT_MAP)
		return NULL;
	pthread_mutex_lock(&call->tenant->lock);
	object = object_by_real_id(&call->tenant->table, KOBJECT_MAP, real_id);
	if (object && object->umap &&
	    (atomic_load(&object->umap->resident) || object->umap->outputs || object->umap->table))
		map = uspace_map_ref(object->umap);
	pthread_mutex_unlock(&call->tenant->lock);
	return map;
}

static int elem_run(struct elem *elem)
{
	const struct abi_map_elem *attr = &elem->call->attr.map_elem;

	switch ((int)elem->call->notif.data.args[0]) {
	case BPF_MAP_LOOKUP_ELEM:
		return elem_lookup(elem, attr);
	case BPF_MAP_UPDATE_ELEM:
		return elem_update(elem, attr);
	case BPF_MAP_DELETE_ELEM:
		return elem_delete(elem, attr);
	case BPF_MAP_GET_NEXT_KEY:
		return elem_next_key(elem, attr);
	default:
		return elem_lookup_and_delete(elem, attr);
	}
}

int uspace_elem(struct call *call)
{
	struct elem elem = {.call = call,
			    .map = uspace_elem_map(call, (int)call->attr.map_elem.map_fd)};
	const struct region_map *record;
	int r;

	/* Whatever the descriptor is by the time the kernel looks: it can do there what it could
	 * have done without us. */
	if (!elem.map)
		return CALL_CONTINUE;
	if (elem.map->outputs) {
		r = CALL_CONTINUE;
		if (call->notif.data.args[0] == BPF_MAP_UPDATE_ELEM)
			r = uspace_output_update(call, elem.map);
		if (call->notif.data.args[0] == BPF_MAP_DELETE_ELEM)
			r = uspace_output_delete(call, elem.map);
		uspace_map_unref(elem.map);
		return r;
	}
	if (elem.map->table) {
		r = uspace_table_command(call, elem.map);
		uspace_map_unref(elem.map);
		return r;
	}
	record = &elem.map->record;
	elem.value_size = uspace_elem_value_size(record);
	r = call_alloc(call, record->key_size, &elem.key);
	if (r == 0)
		r = call_alloc(call, elem.value_size + record->key_size, &elem.value);
	if (r == 0)
		r = elem_run(&elem);
	free(elem.key);
	free(elem.value);
	uspace_map_unref(elem.map);
	return r;
}
