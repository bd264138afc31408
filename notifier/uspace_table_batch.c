/* SPDX-License-Identifier: MIT */
/*
 * Batches of the tool on maps of maps: their elements are changed one by one, and read by the
 * kernel. Source of checks and results: generic_map_*_batch(), kernel/bpf/syscall.c, and
 * __htab_map_lookup_and_delete_batch(), kernel/bpf/hashtab.c, Linux 6.18.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/kobject.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "notifier/uspace_late.h"
#include "notifier/uspace_retire.h"

/** struct batch - @fd: the tool's map, ours to close */
struct batch {
	struct call *call;
	struct uspace_map *map;
	struct abi_map_batch attr;
	int fd;
};

static int put_count(struct batch *batch, uint32_t cnt)
{
	return call_write_attr(batch->call, offsetof(struct abi_map_batch, count), &cnt,
			       sizeof(cnt));
}

static int change(struct batch *batch, int cmd, unsigned char *key, uint32_t index)
{
	struct guest *guest = &batch->call->guest;
	const uint32_t key_size = batch->map->record.key_size;
	uint32_t guest_fd = 0;
	int r = guest_read(guest, batch->attr.keys + (uint64_t)index * key_size, key, key_size);

	if (r == 0 && cmd == BPF_MAP_UPDATE_ELEM)
		r = guest_read(guest, batch->attr.values + (uint64_t)index * sizeof(guest_fd),
			       &guest_fd, sizeof(guest_fd));
	if (r == 0 && !guest_valid(guest))
		r = -ESRCH;
	return r < 0 ? r
		     : uspace_table_change(batch->call, batch->map, batch->fd, cmd, key,
					   (int)guest_fd, BPF_ANY);
}

static int change_all(struct batch *batch, int cmd)
{
	cleanup_free unsigned char *key = NULL;
	uint32_t done = 0;
	int written, r;

	if (batch->attr.elem_flags)
		return -EINVAL;
	r = call_alloc(batch->call, batch->map->record.key_size, &key);
	if (r < 0 || !batch->attr.count)
		return r;
	while (r == 0 && done < batch->attr.count) {
		r = change(batch, cmd, key, done);
		done += r == 0;
	}
	written = put_count(batch, done);
	return written < 0 ? written : r;
}

/* Ids that the kernel gave become the tenant's. */
static void translate(struct call *call, uint32_t *ids, uint32_t cnt)
{
	pthread_mutex_lock(&call->tenant->lock);
	for (uint32_t i = 0; i < cnt; i++) {
		const struct object *object =
			object_by_real_id(&call->tenant->table, KOBJECT_MAP, ids[i]);

		ids[i] = object ? object->id : 0;
	}
	pthread_mutex_unlock(&call->tenant->lock);
}

/** struct walk - room for what the kernel gives. It counts both kinds of map by 32 bits. */
struct walk {
	unsigned char *keys;
	uint32_t *ids, in, out;
};

static int walk_init(struct batch *batch, struct walk *walk)
{
	const uint64_t cnt = batch->attr.count;
	int r = call_alloc(batch->call, cnt * batch->map->record.key_size, &walk->keys);

	if (r == 0)
		r = call_alloc(batch->call, cnt * sizeof(walk->ids[0]), &walk->ids);
	if (r == 0 && batch->attr.in_batch)
		r = guest_read(&batch->call->guest, batch->attr.in_batch, &walk->in,
			       sizeof(walk->in));
	return r == 0 && !guest_valid(&batch->call->guest) ? -ESRCH : r;
}

static int walk_write(struct batch *batch, struct walk *walk, uint32_t cnt)
{
	struct guest *guest = &batch->call->guest;
	int r = 0;

	translate(batch->call, walk->ids, cnt);
	if (cnt)
		r = guest_write(guest, batch->attr.keys, walk->keys,
				(size_t)cnt * batch->map->record.key_size);
	if (r == 0 && cnt)
		r = guest_write(guest, batch->attr.values, walk->ids,
				(size_t)cnt * sizeof(walk->ids[0]));
	if (r == 0)
		r = guest_write(guest, batch->attr.out_batch, &walk->out, sizeof(walk->out));
	return r;
}

/* The kernel's part, and what it took out is taken out here as well. */
static int walk_run(struct batch *batch, struct walk *walk, int cmd, struct abi_map_batch *attr)
{
	struct uspace *uspace = batch->map->uspace;
	int r;

	attr->map_fd = (uint32_t)batch->fd;
	attr->in_batch = attr->in_batch ? (uintptr_t)&walk->in : 0;
	attr->out_batch = (uintptr_t)&walk->out;
	attr->keys = (uintptr_t)walk->keys;
	attr->values = (uintptr_t)walk->ids;
	if (cmd == BPF_MAP_LOOKUP_BATCH)
		return sys_bpf(cmd, attr, sizeof(*attr));
	/* It may be followed for a file it read; whoever holds the lock may have to stop it. */
	uspace_late_let_go(uspace, guest_tgid(&batch->call->guest));
	pthread_mutex_lock(&uspace->apply);
	r = sys_bpf(cmd, attr, sizeof(*attr));
	for (uint32_t i = 0; (r == 0 || r == -ENOENT) && i < attr->count; i++)
		uspace_table_lose(batch->map,
				  walk->keys + (size_t)i * batch->map->record.key_size);
	pthread_mutex_unlock(&uspace->apply);
	uspace_retire_wait(uspace);
	return r;
}

static int walk_all(struct batch *batch, int cmd)
{
	struct abi_map_batch attr = batch->attr;
	struct walk walk = {0};
	int written = 0, r = walk_init(batch, &walk);

	if (r == 0) {
		r = walk_run(batch, &walk, cmd, &attr);
		if ((r == 0 || r == -ENOENT) && batch->attr.count)
			written = walk_write(batch, &walk, attr.count);
		if (written == 0 && attr.count != batch->attr.count)
			written = put_count(batch, attr.count);
	}
	free(walk.keys);
	free(walk.ids);
	return written < 0 ? written : r;
}

int uspace_table_batch(struct call *call, struct uspace_map *map)
{
	struct batch batch = {.call = call, .map = map, .attr = call->attr.map_batch};
	const int cmd = (int)call->notif.data.args[0];
	enum kobject_kind kind;
	uint32_t id;
	int r;

	/* The kernel has no batches of these, and says so. */
	if (map->record.type == BPF_MAP_TYPE_PROG_ARRAY ||
	    (map->record.type == BPF_MAP_TYPE_ARRAY_OF_MAPS &&
	     (cmd == BPF_MAP_DELETE_BATCH || cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH)))
		return CALL_CONTINUE;
	batch.fd = guest_get_fd(&call->guest, (int)batch.attr.map_fd);
	if (batch.fd < 0)
		return batch.fd;
	/* Whatever it is by now: the kernel does with it what it could have done without us. */
	if (kobject_identify(batch.fd, &kind, &id) < 0 || kind != KOBJECT_MAP || id != map->real_id)
		r = CALL_CONTINUE;
	else if (cmd == BPF_MAP_UPDATE_BATCH)
		r = change_all(&batch, BPF_MAP_UPDATE_ELEM);
	else if (cmd == BPF_MAP_DELETE_BATCH)
		r = change_all(&batch, BPF_MAP_DELETE_ELEM);
	else
		r = walk_all(&batch, cmd);
	close_fd(batch.fd);
	return r;
}
