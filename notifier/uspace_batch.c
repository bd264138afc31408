/* SPDX-License-Identifier: MIT */
/*
 * Batch commands of the tool on maps whose contents are in the region. Source of checks and
 * results: generic_map_*_batch(), kernel/bpf/syscall.c, and __htab_map_lookup_and_delete_batch(),
 * kernel/bpf/ hashtab.c, Linux 6.18.
 *
 * As in the kernel, in_batch and out_batch are a key for most maps, and the number of a bucket for
 * hashes, whose buckets are given as a whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "notifier/uspace_elem.h"
#include "notifier/uspace_limit.h"
#include "vm/runtime/runtime.h"

#define ROOM_FIRST 16u /* elements of one bucket; most have one or two */

/* One command: what the tool gave, and room for some elements. */
struct batch {
	struct call *call;
	struct uspace_map *map;
	struct abi_map_batch attr;
	unsigned char *key, *value;
	uint32_t key_size, room;
	size_t value_size;
	uint32_t done;
	struct uspace_limit limit;
};

/*
 * Between two elements. EBUSY is what a single command gets that cannot have a lock in bounded
 * time, and what tools know from the kernel's hashes.
 */
static int go_on(struct batch *batch)
{
	if (uspace_limit_look(&batch->limit) && !guest_valid(&batch->call->guest))
		return -ESRCH;
	return uspace_limit_over(&batch->limit) ? -EBUSY : 0;
}

static int make_room(struct batch *batch, uint32_t room)
{
	int r;

	free(batch->key);
	free(batch->value);
	batch->key = batch->value = NULL;
	r = call_alloc(batch->call, (uint64_t)room * batch->key_size, &batch->key);
	if (r == 0)
		r = call_alloc(batch->call, (uint64_t)room * batch->value_size, &batch->value);
	batch->room = r == 0 ? room : 0;
	return r;
}

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

static int put_elements(struct batch *batch, uint32_t cnt)
{
	int r = guest_write(&batch->call->guest,
			    batch->attr.keys + (uint64_t)batch->done * batch->key_size, batch->key,
			    (size_t)cnt * batch->key_size);

	if (r == 0)
		r = guest_write(&batch->call->guest,
				batch->attr.values + batch->done * batch->value_size, batch->value,
				cnt * batch->value_size);
	if (r == 0)
		batch->done += cnt;
	return r;
}

static int batch_update(struct batch *batch)
{
	int r = 0;

	for (batch->done = 0; batch->done < batch->attr.count && r == 0; batch->done += r == 0) {
		r = go_on(batch);
		if (r == 0)
			r = get_element(batch, true);
		if (r == 0)
			r = rt_map_write(batch->map->uspace->base, &batch->map->record, batch->key,
					 batch->value, BPF_ANY);
	}
	return r;
}

static int batch_delete(struct batch *batch)
{
	int r = 0;

	for (batch->done = 0; batch->done < batch->attr.count && r == 0; batch->done += r == 0) {
		r = go_on(batch);
		if (r == 0)
			r = get_element(batch, false);
		if (r == 0)
			r = rt_map_delete(batch->map->uspace->base, &batch->map->record, batch->key,
					  RT_ALL_SLOTS);
	}
	return r;
}

/* What is there goes out; a tool asks for the rest. */
static int enough(const struct batch *batch, int r)
{
	return r == -EBUSY && batch->done ? 0 : r;
}

/*
 * By keys. More steps than there may be elements are a walk in circles: that is its end.
 * @at: the key before, and then the last one, with room for one more behind it
 */
static int lookup_keys(struct batch *batch, unsigned char *at)
{
	const struct region_map *record = &batch->map->record;
	unsigned char *base = batch->map->uspace->base;
	const void *from = NULL;
	uint64_t steps = 0;
	int r = 0;

	if (batch->attr.in_batch) {
		r = guest_read(&batch->call->guest, batch->attr.in_batch, at, batch->key_size);
		from = at;
	}
	while (r == 0 && batch->done < batch->attr.count) {
		r = steps++ > record->max_entries ? -ENOENT : go_on(batch);
		if (r == 0)
			r = rt_map_next_key(base, record, from, batch->key);
		if (r < 0)
			break;
		r = rt_map_read(base, record, batch->key, batch->value);
		if (r == 0)
			r = put_elements(batch, 1);
		else if (r == -ENOENT)
			r = 0;
		memcpy(at, batch->key, batch->key_size);
		from = at;
	}
	return enough(batch, r);
}

static int batch_lookup(struct batch *batch)
{
	cleanup_free unsigned char *at = malloc(batch->key_size);
	int r = at ? make_room(batch, 1) : -ENOMEM;

	if (r == 0)
		r = lookup_keys(batch, at);
	if ((r == 0 || r == -ENOENT) && batch->done) {
		int written = guest_write(&batch->call->guest, batch->attr.out_batch, at,
					  batch->key_size);

		r = written < 0 ? written : r;
	}
	return r;
}

/* One bucket, if what is in it still has room at the tool's. Return: 0, -ENOSPC if not, -ENOENT
 * behind the last. */
static int put_bucket(struct batch *batch, uint32_t bucket, bool take)
{
	uint32_t left = batch->attr.count - batch->done, cnt = 0;
	int r = -ENOSPC;

	while (r == -ENOSPC) {
		uint32_t room = batch->room < left ? batch->room : left;

		r = rt_map_bucket(batch->map->uspace->base, &batch->map->record, bucket, take, room,
				  batch->key, batch->value, &cnt);
		if (r == -ENOSPC && cnt > left)
			return r;
		if (r == -ENOSPC && make_room(batch, cnt) < 0)
			r = -ENOMEM;
	}
	return r == 0 && cnt ? put_elements(batch, cnt) : r;
}

/*
 * What was taken and cannot be written is gone, as in the kernel, which copies a bucket to the tool
 * when it is empty.
 */
static int batch_buckets(struct batch *batch, bool take)
{
	uint32_t bucket = 0;
	int r = make_room(batch, batch->attr.count < ROOM_FIRST ? batch->attr.count : ROOM_FIRST);

	if (r == 0 && batch->attr.in_batch)
		r = guest_read(&batch->call->guest, batch->attr.in_batch, &bucket, sizeof(bucket));
	if (r < 0)
		return r;
	if (bucket >= batch->map->record.buckets)
		return -ENOENT;
	while (r == 0) {
		r = go_on(batch);
		if (r == 0)
			r = put_bucket(batch, bucket, take);
		if (r == 0 && ++bucket == batch->map->record.buckets)
			r = -ENOENT;
	}
	r = r == -ENOSPC && batch->done ? 0 : enough(batch, r);
	if (r == 0 || r == -ENOENT || r == -ENOSPC) {
		int written = guest_write(&batch->call->guest, batch->attr.out_batch, &bucket,
					  sizeof(bucket));

		r = written < 0 ? written : r;
	}
	return r;
}

static bool is_hash(const struct region_map *record)
{
	return record->type == BPF_MAP_TYPE_HASH || record->type == BPF_MAP_TYPE_PERCPU_HASH ||
	       record->type == BPF_MAP_TYPE_LRU_HASH ||
	       record->type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/* Only these look at flags of the whole. */
static bool is_hash_walk(const struct batch *batch)
{
	int cmd = (int)batch->call->notif.data.args[0];

	return is_hash(&batch->map->record) &&
	       (cmd == BPF_MAP_LOOKUP_BATCH || cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH);
}

/* How many there were is said of lookups only if what there was could be written. */
static int batch_run(struct batch *batch)
{
	int cmd = (int)batch->call->notif.data.args[0], written;
	bool change = cmd == BPF_MAP_UPDATE_BATCH || cmd == BPF_MAP_DELETE_BATCH;
	int r = put_count(batch);

	if (r < 0)
		return r;
	if (change)
		r = make_room(batch, 1);
	if (r < 0)
		return r;
	if (cmd == BPF_MAP_UPDATE_BATCH)
		r = batch_update(batch);
	else if (cmd == BPF_MAP_DELETE_BATCH)
		r = batch_delete(batch);
	else if (is_hash_walk(batch))
		r = batch_buckets(batch, cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH);
	else
		r = batch_lookup(batch);
	if (r == -EFAULT && !change)
		return r;
	written = put_count(batch);
	return written < 0 ? written : r;
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
	case BPF_MAP_TYPE_ARRAY:
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
	if (batch.map->table) {
		r = uspace_table_batch(call, batch.map);
		uspace_map_unref(batch.map);
		return r;
	}
	/* The kernel has no batches of these, and says so. */
	if (batch.map->outputs) {
		uspace_map_unref(batch.map);
		return CALL_CONTINUE;
	}
	batch.key_size = batch.map->record.key_size;
	batch.value_size = uspace_elem_value_size(&batch.map->record);
	batch.limit = uspace_limit_start(&batch.map->record, batch.attr.count);
	if (!is_supported(&batch))
		r = -ABI_ENOTSUPP;
	else if (batch.attr.elem_flags || (batch.attr.flags && is_hash_walk(&batch)))
		r = -EINVAL;
	else if (!batch.attr.count)
		r = 0;
	else if (!guest_valid(&call->guest))
		r = -ESRCH;
	else
		r = batch_run(&batch);
	free(batch.key);
	free(batch.value);
	uspace_map_unref(batch.map);
	return r;
}
