/* SPDX-License-Identifier: MIT */
/*
 * Program arrays: the tool puts programs in, programs go on as one of them (bpf_tail_call()).
 *
 * Which programs stand in one is noted here as the calls that change it go to the kernel's map; the
 * table that processes read is in the code part. From the first attachment in traced processes on
 * the maps of all programs in an array have their contents in the region, as those of attached
 * programs have: whichever entry is taken, it finds them there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/kobject.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "notifier/uspace_late.h"
#include "notifier/uspace_tier.h"

/**
 * struct uspace_tail - one entry
 * @prog: a reference; NULL: none that could run in processes
 * @foreign: a program stands there that could not
 */
struct uspace_tail {
	struct uspace_prog *prog;
	bool foreign;
};

int uspace_tails_new(struct uspace_map *map)
{
	map->tails = calloc(map->record.max_entries, sizeof(*map->tails));
	return map->tails ? 0 : -ENOMEM;
}

/* The table's word, which processes read while it changes. */
static void publish(struct uspace_map *map, uint32_t index)
{
	uint64_t *table = (void *)(map->uspace->base + map->record.data);
	const struct uspace_prog *prog = map->tails[index].prog;

	__atomic_store_n(&table[index], prog ? prog->code : 0, __ATOMIC_RELEASE);
}

void uspace_tails_place(struct uspace_map *map)
{
	/* Something else may have stood there. */
	for (uint32_t i = 0; i < map->record.max_entries; i++)
		publish(map, i);
}

void uspace_tails_recode(struct uspace *uspace, const struct uspace_prog *prog)
{
	struct uspace_map *map;

	pthread_mutex_lock(&uspace->lock);
	list_for_each(map, &uspace->maps, node)
	{
		for (uint32_t i = 0; map->tails && i < map->record.max_entries; i++)
			if (map->tails[i].prog == prog)
				publish(map, i);
	}
	pthread_mutex_unlock(&uspace->lock);
}

/* The first @cnt maps of @prog. */
static void leave_maps(struct uspace_prog *prog, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		uspace_map_leave(prog->maps[i]);
}

/* The program may be entered from processes from now on. */
static int enter(const struct uspace_tail *tail, struct reason *reason)
{
	struct uspace_prog *prog = tail->prog;

	if (tail->foreign || (prog && !prog->code))
		return reason_set(reason, -EOPNOTSUPP,
				  "a program in one of its program arrays cannot run in traced "
				  "processes%s%.300s",
				  prog ? ": " : "", prog ? prog->why_not.text : "");
	for (uint32_t i = 0; prog && i < prog->map_cnt; i++) {
		int r = uspace_map_settle(prog->maps[i], reason);

		if (r < 0) {
			leave_maps(tail->prog, i);
			return r;
		}
	}
	if (prog)
		tiers_want(prog->uspace->tiers, prog);
	return 0;
}

static void leave(const struct uspace_tail *tail)
{
	if (tail->prog)
		leave_maps(tail->prog, tail->prog->map_cnt);
}

int uspace_tails_settle(struct uspace_map *map, struct reason *reason)
{
	if (map->settled)
		return 0;
	/* Now: a program in the array may use it itself. */
	map->settled = true;
	for (uint32_t i = 0; i < map->record.max_entries; i++) {
		int r = enter(&map->tails[i], reason);

		if (r == 0)
			continue;
		while (i-- > 0)
			leave(&map->tails[i]);
		map->settled = false;
		return r;
	}
	return 0;
}

int uspace_tails_return(struct uspace_map *map)
{
	for (uint32_t i = 0; i < map->record.max_entries; i++) {
		const struct uspace_prog *prog = map->tails[i].prog;

		for (uint32_t k = 0; prog && k < prog->map_cnt; k++) {
			int r = prog->maps[k]->tails ? 0 : uspace_map_return(prog->maps[k]);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* @tail takes the entry's place. Return: what stood there, for its owner to end. */
static struct uspace_tail exchange(struct uspace_map *map, uint32_t index, struct uspace_tail tail)
{
	struct uspace_tail old;

	pthread_mutex_lock(&map->uspace->lock);
	old = map->tails[index];
	map->tails[index] = tail;
	publish(map, index);
	pthread_mutex_unlock(&map->uspace->lock);
	return old;
}

void uspace_tails_clear(struct uspace_map *map)
{
	for (uint32_t i = 0; map->tails && i < map->record.max_entries; i++) {
		struct uspace_tail old = exchange(map, i, (struct uspace_tail){0});

		if (map->settled)
			leave(&old);
		uspace_prog_unref(old.prog);
	}
}

void uspace_tails_free(struct uspace_map *map)
{
	free(map->tails);
	map->tails = NULL;
}

/* What the tenant's program behind our descriptor @fd is as an entry. Errors: it is no program. */
static int tail_of(struct call *call, int fd, struct uspace_tail *ret_tail)
{
	struct uspace_tail tail = {.foreign = true};
	enum kobject_kind kind;
	struct object *object;
	uint32_t id;
	int r = kobject_identify(fd, &kind, &id);

	if (r < 0 || kind != KOBJECT_PROG)
		return -EINVAL;
	pthread_mutex_lock(&call->tenant->lock);
	object = object_by_real_id(&call->tenant->table, KOBJECT_PROG, id);
	if (object && object->uprog)
		tail = (struct uspace_tail){.prog = uspace_prog_ref(object->uprog)};
	pthread_mutex_unlock(&call->tenant->lock);
	*ret_tail = tail;
	return 0;
}

/* @cmd in the kernel, then here; @tail is taken over. */
static int change(struct call *call, struct uspace_map *map, int cmd, uint32_t index,
		  struct uspace_tail tail)
{
	struct abi_map_elem *attr = &call->attr.map_elem;
	struct uspace_tail old = tail;
	int r = 0;

	/* It may be followed for a file it read; whoever holds the lock may have to stop it. */
	uspace_late_let_go(map->uspace, guest_tgid(&call->guest));
	pthread_mutex_lock(&map->uspace->apply);
	if (map->settled)
		r = enter(&tail, &call->reason);
	if (r == 0) {
		r = sys_bpf(cmd, attr, sizeof(*attr));
		if (r == 0)
			old = exchange(map, index, tail);
		if (map->settled)
			leave(&old);
	}
	pthread_mutex_unlock(&map->uspace->apply);
	uspace_prog_unref(old.prog);
	return r;
}

int uspace_tails_command(struct call *call, struct uspace_map *map)
{
	struct abi_map_elem *attr = &call->attr.map_elem;
	cleanup_fd int map_fd = guest_get_fd(&call->guest, (int)attr->map_fd);
	const int cmd = (int)call->notif.data.args[0];
	struct uspace_tail tail = {0};
	cleanup_fd int prog_fd = -1;
	enum kobject_kind kind;
	uint32_t index, id;
	int guest_fd, r;

	if (cmd != BPF_MAP_UPDATE_ELEM && cmd != BPF_MAP_DELETE_ELEM)
		return CALL_CONTINUE;
	if (map_fd < 0)
		return map_fd;
	r = guest_read(&call->guest, attr->key, &index, sizeof(index));
	if (r == 0 && cmd == BPF_MAP_UPDATE_ELEM)
		r = guest_read(&call->guest, attr->value, &guest_fd, sizeof(guest_fd));
	if (r == 0 && !guest_valid(&call->guest))
		r = -ESRCH;
	if (r < 0)
		return r;
	/* Not the map any more, or no program: the kernel says so. */
	if (kobject_identify(map_fd, &kind, &id) < 0 || kind != KOBJECT_MAP || id != map->real_id)
		return CALL_CONTINUE;
	attr->map_fd = (uint32_t)map_fd;
	attr->key = (uintptr_t)&index;
	if (cmd == BPF_MAP_UPDATE_ELEM) {
		prog_fd = guest_get_fd(&call->guest, guest_fd);
		if (prog_fd < 0 || tail_of(call, prog_fd, &tail) < 0)
			return CALL_CONTINUE;
		attr->value = (uintptr_t)&prog_fd;
	}
	return change(call, map, cmd, index, tail);
}
