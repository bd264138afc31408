/* SPDX-License-Identifier: MIT */
/*
 * Batch commands of the tool on maps whose contents are in the region. Source of checks and
 * results: generic_map_*_batch(), kernel/bpf/syscall.c, and __htab_map_lookup_and_delete_batch(),
 * kernel/bpf/ hashtab.c, Linux 6.18.
 *
 * What the kernel keeps in in_batch and out_batch is its own business, four bytes for these maps;
 * here it is how many elements came before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "notifier/uspace_elem.h"
#include "vm/runtime/runtime.h"

/* One command: what the tool gave, and room for one element. */
struct batch {
	struct call *call;
	struct uspace_map *map;
	struct abi_map_batch attr;
	unsigned char *key, *value;
	uint32_t key_size;
	size_t value_size;
	uint32_t done;
};

static int put_count(struct batch *batch)
{
	return call_write_attr(batch->call, offsetof(struct abi_map_batch, count), &batch->done,
			       sizeof(batch->done));
}

static int get_element(struct batch *batch, bool with_value)
{
	int r = guest_read(&batch->call->guest,
			   batch->attr.keys + (uint64_t)batch->done * batch->key_size, batch->key,
			   batch->key_size);

	if (r == 0 && with_value)
		r = guest_read(&batch->call->guest,
			       batch->attr.values + batch->done * batch->value_size, batch->value,
			       batch->value_size);
	return r;
}

static int put_element(struct batch *batch)
{
	int r = guest_write(&batch->call->guest,
			    batch->attr.keys + (uint64_t)batch->done * batch->key_size, batch->key,
			    batch->key_size);

	return r < 0 ? r
		     : guest_write(&batch->call->guest,
				   batch->attr.values + batch->done * batch->value_size,
				   batch->value, batch->value_size);
}

static int batch_update(struct batch *batch)
{
	int r = 0;

	for (batch->done = 0; batch->done < batch->attr.count && r == 0; batch->done += r == 0) {
		r = get_element(batch, true);
		if (r == 0)
			r = rt_map_write(batch->map->uspace->base, &batch->map->record, batch->key,
					 batch->value, batch->attr.elem_flags);
	}
	return r;
}

static int batch_delete(struct batch *batch)
{
	int r = 0;

	for (batch->done = 0; batch->done < batch->attr.count && r == 0; batch->done += r == 0) {
		r = get_element(batch, false);
		if (r == 0)
			r = rt_map_delete(batch->map->uspace->base, &batch->map->record, batch->key,
					  RT_ALL_SLOTS);
	}
	return r;
}

/* Key of the element behind @key, or of the first; -ENOENT at the end. */
static int step(struct batch *batch, bool first)
{
	cleanup_free unsigned char *next = malloc(batch->key_size);
	int r;

	if (!next)
		return -ENOMEM;
	r = rt_map_next_key(batch->map->uspace->base, &batch->map->record,
			    first ? NULL : batch->key, next);
	if (r == 0)
		memcpy(batch->key, next, batch->key_size);
	return r;
}

static int read_position(struct batch *batch, uint32_t *ret_position)
{
	*ret_position = 0;
	if (!batch->attr.in_batch)
		return 0;
	return guest_read(&batch->call->guest, batch->attr.in_batch, ret_position,
			  sizeof(*ret_position));
}

static int take_element(struct batch *batch, bool delete)
{
	struct uspace_map *map = batch->map;
	int r = rt_map_read(map->uspace->base, &map->record, batch->key, batch->value);

	if (r == 0)
		r = put_element(batch);
	if (r == 0 && delete)
		r = rt_map_delete(map->uspace->base, &map->record, batch->key, RT_ALL_SLOTS);
	return r;
}

static int batch_lookup(struct batch *batch, bool delete)
{
	uint32_t position, at = 0;
	bool first = true;
	int r = read_position(batch, &position);

	/* What was deleted on the way is before us no more. */
	if (delete)
		position = 0;
	while (r == 0 && batch->done < batch->attr.count) {
		r = step(batch, first || delete);
		first = false;
		if (r == 0 && at++ >= position) {
			r = take_element(batch, delete);
			batch->done += r == 0;
		}
	}
	if (r == 0 || r == -ENOENT) {
		int written;

		position += batch->done;
		written = guest_write(&batch->call->guest, batch->attr.out_batch, &position,
				      sizeof(position));
		if (written < 0)
			return written;
	}
	/* Full to the last element is no end yet: the next call finds it. */
	return r;
}

static int batch_run(struct batch *batch)
{
	int r;

	switch ((int)batch->call->notif.data.args[0]) {
	case BPF_MAP_UPDATE_BATCH:
		r = batch_update(batch);
		break;
	case BPF_MAP_DELETE_BATCH:
		r = batch_delete(batch);
		break;
	case BPF_MAP_LOOKUP_BATCH:
		r = batch_lookup(batch, false);
		break;
	default:
		r = batch_lookup(batch, true);
	}
	if (r != -EFAULT) {
		int written = put_count(batch);

		if (written < 0)
			return written;
	}
	return r;
}

static bool is_supported(const struct batch *batch)
{
	int cmd = (int)batch->call->notif.data.args[0];

	switch (batch->map->record.type) {
	case BPF_MAP_TYPE_STACK_TRACE:
	case BPF_MAP_TYPE_QUEUE:
	case BPF_MAP_TYPE_STACK:
	case BPF_MAP_TYPE_BLOOM_FILTER:
		return false;
	case BPF_MAP_TYPE_LPM_TRIE:
		return cmd != BPF_MAP_LOOKUP_AND_DELETE_BATCH;
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		/* Elements of arrays are not deleted. */
		return cmd != BPF_MAP_DELETE_BATCH && cmd != BPF_MAP_LOOKUP_AND_DELETE_BATCH;
	default:
		return true;
	}
}

int uspace_batch(struct call *call)
{
	struct batch batch = {.call = call, .attr = call->attr.map_batch};
	int r;

	batch.map = uspace_elem_map(call, (int)batch.attr.map_fd);
	if (!batch.map)
		return CALL_CONTINUE;
	batch.key_size = batch.map->record.key_size;
	batch.value_size = uspace_elem_value_size(&batch.map->record);
	if (batch.attr.flags || (batch.attr.elem_flags & ~(uint64_t)BPF_EXIST))
		r = -EINVAL;
	else if (!is_supported(&batch))
		r = -ABI_ENOTSUPP;
	else if (!batch.attr.count)
		r = 0;
	else if (!guest_valid(&call->guest))
		r = -ESRCH;
	else {
		call_alloc(call, batch.key_size, &batch.key);
		call_alloc(call, batch.value_size, &batch.value);
		r = batch.key && batch.value ? batch_run(&batch) : -ENOMEM;
	}
	free(batch.key);
	free(batch.value);
	uspace_map_unref(batch.map);
	return r;
}
