/* SPDX-License-Identifier: MIT */
/*
 * Maps of programs and of maps: the tool puts them in, programs go on as one of them
 * (bpf_tail_call()) or look one up.
 *
 * What stands in one is noted here as the calls that change it go to the kernel's map; the table
 * that processes read is in the code part. From the first attachment in traced processes on all
 * that stands in it is ready for them: maps have their contents in the region, those of its
 * programs, too, and processes map what is needed before an entry says where it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "kernel-bridge/kobject.h"
#include "notifier/call.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"
#include "notifier/uspace_late.h"
#include "notifier/uspace_retire.h"
#include "notifier/uspace_targets.h"
#include "notifier/uspace_tier.h"
#include "vm/runtime/table.h"

/* Arrays in larger maps of maps are not mapped one by one. */
#define MAPPED_MAX 32u

static bool holds_programs(const struct uspace_map *map)
{
	return map->record.type == BPF_MAP_TYPE_PROG_ARRAY;
}

static bool is_hash(const struct uspace_map *map)
{
	return map->record.type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

static uint32_t slots_of(const struct uspace_map *map)
{
	return is_hash(map) ? map->record.buckets : map->record.max_entries;
}

int uspace_table_new(struct uspace_map *map)
{
	map->table = calloc(slots_of(map), sizeof(*map->table));
	return map->table ? 0 : -ENOMEM;
}

void uspace_table_place(struct uspace_map *map)
{
	/* Something else may have stood there. */
	memset(map->uspace->base + map->record.data, 0, map->record.data_size);
}

void uspace_table_free(struct uspace_map *map)
{
	free(map->table);
	map->table = NULL;
}

static bool is_empty(const struct uspace_entry *entry)
{
	return !entry->prog && !entry->map && !entry->foreign;
}

/* Where it is, for processes that have mapped as much as plan @mapped says. */
static uint64_t word_of(const struct uspace_entry *entry, uint32_t mapped)
{
	uint64_t at = entry->prog ? entry->prog->code : entry->map ? entry->map->record_offset : 0;

	if (is_empty(entry))
		return 0;
	return at ? (uint64_t)mapped << 32 | at : TABLE_NOWHERE;
}

/* The first @cnt maps of @prog. */
static void leave_maps(struct uspace_prog *prog, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		uspace_map_leave(prog->maps[i]);
}

static int enter_prog(struct uspace_prog *prog, struct reason *reason)
{
	int r = 0;

	if (!prog->code)
		return reason_set(reason, -EOPNOTSUPP,
				  "a program in one of its program arrays cannot run in traced "
				  "processes: %.300s",
				  prog->why_not.text);
	for (uint32_t i = 0; i < prog->map_cnt; i++) {
		r = uspace_map_settle(prog->maps[i], reason);
		if (r < 0) {
			leave_maps(prog, i);
			return r;
		}
	}
	if (prog->prints)
		r = uspace_events_start(prog->uspace);
	if (r < 0)
		leave_maps(prog, prog->map_cnt);
	else
		tiers_want(prog->uspace->tiers, prog);
	return r;
}

/* Programs in processes may come to it from now on. */
static int enter(const struct uspace_entry *entry, struct reason *reason)
{
	if (entry->foreign)
		return reason_set(reason, -EOPNOTSUPP,
				  "what stands in a map of programs or maps cannot be used in "
				  "traced processes");
	if (entry->map)
		return uspace_map_settle(entry->map, reason);
	return entry->prog ? enter_prog(entry->prog, reason) : 0;
}

static void leave(const struct uspace_entry *entry)
{
	if (entry->map)
		uspace_map_leave(entry->map);
	else if (entry->prog)
		leave_maps(entry->prog, entry->prog->map_cnt);
}

static void entry_deinit(struct uspace_entry *entry)
{
	uspace_prog_unref(entry->prog);
	uspace_map_unref(entry->map);
	*entry = (struct uspace_entry){0};
}

/* Tables that can be reached from one, through the programs in them, and are not in use yet; with a
 * reference each. */
#define CLOSURE_MAX 64u
struct closure {
	struct uspace_map *maps[CLOSURE_MAX];
	uint32_t cnt;
};

static int closure_add(struct closure *closure, struct uspace_map *map)
{
	if (!map->table || map->settled)
		return 0;
	for (uint32_t i = 0; i < closure->cnt; i++)
		if (closure->maps[i] == map)
			return 0;
	if (closure->cnt == CLOSURE_MAX)
		return -E2BIG;
	closure->maps[closure->cnt++] = uspace_map_ref(map);
	return 0;
}

static int closure_entry(const struct uspace_entry *entry, void *data)
{
	int r = 0;

	for (uint32_t i = 0; entry->prog && i < entry->prog->map_cnt && r == 0; i++)
		r = closure_add(data, entry->prog->maps[i]);
	return r;
}

/* The first @cnt entries of @map. */
static void leave_entries(struct uspace_map *map, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		leave(&map->table[i]);
}

static int enter_entries(struct uspace_map *map, struct reason *reason)
{
	for (uint32_t i = 0; i < slots_of(map); i++) {
		int r = enter(&map->table[i], reason);

		if (r == 0)
			continue;
		leave_entries(map, i);
		return r;
	}
	return 0;
}

/* All or nothing. That they count as settled from the beginning ends the recursion: whatever they
 * lead to is one of them, or was settled before. */
static int settle_closure(const struct closure *closure, struct reason *reason)
{
	uint32_t done = 0;
	int r = 0;

	for (uint32_t i = 0; i < closure->cnt; i++)
		closure->maps[i]->settled = closure->maps[i]->reached = true;
	for (; done < closure->cnt && r == 0; done += r == 0)
		r = enter_entries(closure->maps[done], reason);
	if (r == 0)
		return 0;
	for (uint32_t i = 0; i < done; i++)
		leave_entries(closure->maps[i], slots_of(closure->maps[i]));
	for (uint32_t i = 0; i < closure->cnt; i++)
		closure->maps[i]->settled = false;
	return r;
}

int uspace_table_settle(struct uspace_map *map, struct reason *reason)
{
	struct closure closure = {.cnt = 0};
	int r = closure_add(&closure, map);

	for (uint32_t i = 0; i < closure.cnt && r == 0; i++)
		r = uspace_table_each(closure.maps[i], closure_entry, &closure);
	if (r == -E2BIG)
		reason_set(reason, r, "programs lead to each other through more than %u maps",
			   CLOSURE_MAX);
	if (r == 0)
		r = settle_closure(&closure, reason);
	for (uint32_t i = 0; i < closure.cnt; i++)
		uspace_map_unref(closure.maps[i]);
	return r;
}

static int return_entry(const struct uspace_entry *entry)
{
	const struct uspace_prog *prog = entry->prog;
	int r = entry->map ? uspace_map_return(entry->map) : 0;

	for (uint32_t i = 0; prog && i < prog->map_cnt && r == 0; i++)
		if (!prog->maps[i]->table)
			r = uspace_map_return(prog->maps[i]);
	return r;
}

int uspace_table_return(struct uspace_map *map)
{
	int r = 0;

	for (uint32_t i = 0; i < slots_of(map) && r == 0; i++)
		r = return_entry(&map->table[i]);
	return r;
}

static int leave_entry(const struct uspace_entry *entry, void *data)
{
	(void)data;
	leave(entry);
	return 0;
}

void uspace_table_rest(struct uspace_map *map)
{
	/* A program array may be used by what stands in it. */
	if (!map->table || holds_programs(map) || !map->settled || map->users)
		return;
	map->settled = false;
	uspace_table_each(map, leave_entry, NULL);
}

static int kernel_enter(const struct uspace_entry *entry, void *data)
{
	(void)data;
	if (entry->map)
		uspace_map_kernel_enter(entry->map);
	return 0;
}

static int kernel_leave(const struct uspace_entry *entry, void *data)
{
	(void)data;
	if (entry->map)
		uspace_map_kernel_leave(entry->map);
	return 0;
}

void uspace_table_kernel_enter(struct uspace_map *map)
{
	uspace_table_each(map, kernel_enter, NULL);
}

void uspace_table_kernel_leave(struct uspace_map *map)
{
	uspace_table_each(map, kernel_leave, NULL);
}

int uspace_table_each(struct uspace_map *map, uspace_table_fn *fn, void *data)
{
	int r = 0;

	for (uint32_t i = 0; map->table && i < slots_of(map) && r == 0; i++) {
		struct uspace_entry entry;

		pthread_mutex_lock(&map->uspace->lock);
		entry = map->table[i];
		if (entry.prog)
			uspace_prog_ref(entry.prog);
		if (entry.map)
			uspace_map_ref(entry.map);
		pthread_mutex_unlock(&map->uspace->lock);
		if (!is_empty(&entry))
			r = fn(&entry, data);
		entry_deinit(&entry);
	}
	return r;
}

/* @entry takes a slot's place. Return: what stood there, for its owner to end. */
static struct uspace_entry exchange(struct uspace_map *map, uint32_t slot,
				    struct uspace_entry entry)
{
	struct uspace_entry old;

	pthread_mutex_lock(&map->uspace->lock);
	old = map->table[slot];
	map->table[slot] = entry;
	pthread_mutex_unlock(&map->uspace->lock);
	return old;
}

/* Where what is noted of it stands now. */
static void moved(uint32_t from, uint32_t to, void *data)
{
	struct uspace_map *map = data;

	pthread_mutex_lock(&map->uspace->lock);
	map->table[to] = map->table[from];
	map->table[from] = (struct uspace_entry){0};
	pthread_mutex_unlock(&map->uspace->lock);
}

static void publish(struct uspace_map *map, uint32_t slot, const void *key, uint32_t mapped)
{
	uint64_t word = word_of(&map->table[slot], mapped);

	if (is_hash(map) && !word)
		table_hash_remove(map->uspace->base, &map->record, slot, moved, map);
	else if (is_hash(map))
		table_hash_write(map->uspace->base, &map->record, slot, key, word);
	else
		table_array_write(map->uspace->base, &map->record, slot, word);
}

/* As much is to be mapped for it as before: the room was taken when the program was loaded. */
static void recode(struct uspace_map *map, const struct uspace_prog *prog)
{
	const uint64_t *words = (const void *)(map->uspace->base + map->record.data);

	for (uint32_t i = 0; i < slots_of(map); i++)
		if (map->table[i].prog == prog && words[i] && words[i] != TABLE_NOWHERE)
			table_array_write(map->uspace->base, &map->record, i,
					  (words[i] & ~(uint64_t)UINT32_MAX) | prog->code);
}

void uspace_table_recode(struct uspace *uspace, const struct uspace_prog *prog)
{
	struct uspace_map *map;

	pthread_mutex_lock(&uspace->lock);
	list_for_each(map, &uspace->maps, node)
	{
		if (map->table && holds_programs(map))
			recode(map, prog);
	}
	pthread_mutex_unlock(&uspace->lock);
}

void uspace_table_clear(struct uspace_map *map)
{
	for (uint32_t i = 0; map->table && i < slots_of(map); i++) {
		struct uspace_entry old = exchange(map, i, (struct uspace_entry){0});

		if (map->settled)
			leave(&old);
		entry_deinit(&old);
	}
	if (map->table)
		uspace_table_place(map);
}

/* What the tenant's object behind our descriptor @fd is as an entry. Errors: it is none that can be
 * one. */
static int entry_of(struct call *call, const struct uspace_map *map, int fd,
		    struct uspace_entry *ret_entry)
{
	const enum kobject_kind wanted = holds_programs(map) ? KOBJECT_PROG : KOBJECT_MAP;
	struct uspace_entry entry = {.foreign = true};
	enum kobject_kind kind;
	struct object *object;
	uint32_t id;
	int r = kobject_identify(fd, &kind, &id);

	if (r < 0 || kind != wanted)
		return -EINVAL;
	pthread_mutex_lock(&call->tenant->lock);
	object = object_by_real_id(&call->tenant->table, kind, id);
	if (object && object->uprog)
		entry = (struct uspace_entry){.prog = uspace_prog_ref(object->uprog)};
	else if (object && object->umap)
		entry = (struct uspace_entry){.map = uspace_map_ref(object->umap)};
	pthread_mutex_unlock(&call->tenant->lock);
	*ret_entry = entry;
	return 0;
}

/* Slot for @key, or -ENOENT: beyond an array, not in a hash (@make: and no room for it). */
static int64_t find_slot(const struct uspace_map *map, const void *key, bool make)
{
	uint32_t index;

	if (is_hash(map))
		return table_hash_find(map->uspace->base, &map->record, key, make);
	memcpy(&index, key, sizeof(index));
	return index < map->record.max_entries ? (int64_t)index : -ENOENT;
}

/**
 * struct change - one element command on its way
 * @cmd: BPF_MAP_UPDATE_ELEM or BPF_MAP_DELETE_ELEM
 * @attr: for the kernel, with our own descriptors
 * @entry: what is put in, then what was taken out
 * @used: it is in use: counted among the users of its maps
 */
struct change {
	struct call *call;
	struct uspace_map *map;
	int cmd;
	struct abi_map_elem attr;
	struct uspace_entry entry;
	bool used;
};

/* Processes get what they need for @slot; whoever cannot be given it goes on as if nothing stood
 * there. */
static int show(struct change *change, uint32_t slot, const void *key)
{
	struct uspace *uspace = change->map->uspace;
	uint32_t before = uspace->mapped;
	struct uspace_reach reach;
	int r = 0;

	if (change->map->settled)
		r = uspace_targets_cover(uspace, guest_tgid(&change->call->guest), &reach);
	/* There is no plan that has it: nobody has mapped so much. */
	if (r < 0 && uspace->mapped == before)
		publish(change->map, slot, key, before + 1);
	else
		publish(change->map, slot, key, uspace->mapped);
	if (r < 0)
		log_notice("tenant=%s: traced processes do not see what was put into a map: %s",
			   uspace->tenant->name, strerrordesc_np(-r));
	return r;
}

/* Contents that move are in one place only. */
static bool moves(const struct uspace_map *map)
{
	return !map->mapped && map->record.type != BPF_MAP_TYPE_RINGBUF &&
	       map->record.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY;
}

static int enter_kernel(const struct change *change)
{
	const struct uspace_map *inner = change->entry.map;
	int r = change->map->kernel_users ? return_entry(&change->entry) : 0;

	if (change->map->kernel_users && change->map->settled && inner && moves(inner))
		r = -EBUSY;
	return r < 0 ? reason_set(&change->call->reason, -EOPNOTSUPP,
				  "a program in the kernel uses the map of maps, one in traced "
				  "processes what is to stand in it")
		     : 0;
}

/* In the kernel, then here. Holds @apply; whatever @change->entry is afterwards is to be ended. */
static int change_locked(struct change *change)
{
	struct uspace_map *map = change->map, *inner = change->entry.map;
	const void *key = (const void *)(uintptr_t)change->attr.key;
	int64_t slot;
	int r;

	/* One that is in use stays what it is; mapped ones are shared with programs in the kernel.
	 */
	if (inner && map->record.max_entries > MAPPED_MAX && !map->kernel_users &&
	    !inner->kernel_users && !inner->users)
		uspace_map_to_memory(inner);
	r = enter_kernel(change);
	if (r == 0 && map->settled)
		r = enter(&change->entry, &change->call->reason);
	if (r < 0)
		return r;
	change->used = map->settled;
	r = sys_bpf(change->cmd, &change->attr, sizeof(change->attr));
	slot = r == 0 ? find_slot(map, key, change->cmd == BPF_MAP_UPDATE_ELEM) : -ENOENT;
	if (slot < 0)
		return r;
	if (map->kernel_users)
		kernel_enter(&change->entry, NULL);
	change->entry = exchange(map, (uint32_t)slot, change->entry);
	r = show(change, (uint32_t)slot, key);
	if (map->kernel_users)
		kernel_leave(&change->entry, NULL);
	return r;
}

static int change_run(struct change *change)
{
	struct uspace *uspace = change->map->uspace;
	int r;

	/* It may be followed for a file it read; whoever holds the lock may have to stop it. */
	uspace_late_let_go(uspace, guest_tgid(&change->call->guest));
	pthread_mutex_lock(&uspace->apply);
	r = change_locked(change);
	pthread_mutex_unlock(&uspace->apply);
	/* As the kernel does (maybe_wait_bpf_programs()): then the tool reads what programs did
	 * with what was taken out. */
	if (r == 0 && change->used && !is_empty(&change->entry))
		uspace_retire_wait(uspace);
	if (change->used)
		leave(&change->entry);
	entry_deinit(&change->entry);
	return r;
}

/* Whether the kernel may take a map for one of the shape that it wants. What it refuses in the end
 * changes nothing. */
static bool may_fit(const struct uspace_map *map, int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	return kobject_info(fd, &info, &len) == 0 && info.type == map->inner.type &&
	       info.key_size == map->inner.key_size && info.value_size == map->inner.value_size &&
	       info.map_flags == map->inner.flags;
}

/* Return: 1 and @ret_entry, 0: the kernel says what is wrong with it, or -errno. */
static int judge(struct call *call, const struct uspace_map *map, int fd,
		 struct uspace_entry *ret_entry)
{
	if (fd < 0 || entry_of(call, map, fd, ret_entry) < 0)
		return 0;
	if (holds_programs(map))
		return 1;
	if (!may_fit(map, fd))
		return 0;
	/* Flags that we have added make maps alike that are not. */
	if (ret_entry->map &&
	    (ret_entry->map->record.flags & ~ret_entry->map->hidden_flags) != map->inner_flags)
		return -EINVAL;
	return 1;
}

int uspace_table_change(struct call *call, struct uspace_map *map, int map_fd, int cmd,
			const void *key, int guest_fd, uint64_t flags)
{
	struct change change = {
		.call = call,
		.map = map,
		.cmd = cmd,
		.attr = {.map_fd = (uint32_t)map_fd, .key = (uintptr_t)key, .flags = flags}};
	cleanup_fd int fd = -1;
	int r;

	if (cmd == BPF_MAP_UPDATE_ELEM) {
		fd = guest_get_fd(&call->guest, guest_fd);
		change.attr.value = (uintptr_t)&fd;
		r = judge(call, map, fd, &change.entry);
		if (r <= 0) {
			entry_deinit(&change.entry);
			return r < 0 ? r : sys_bpf(cmd, &change.attr, sizeof(change.attr));
		}
	}
	return change_run(&change);
}

void uspace_table_lose(struct uspace_map *map, const void *key)
{
	int64_t slot = find_slot(map, key, false);
	struct uspace_entry old;

	if (slot < 0)
		return;
	old = exchange(map, (uint32_t)slot, (struct uspace_entry){0});
	publish(map, (uint32_t)slot, key, 0);
	if (map->kernel_users)
		kernel_leave(&old, NULL);
	if (map->settled)
		leave(&old);
	entry_deinit(&old);
}

static bool is_the_map(const struct uspace_map *map, int fd)
{
	enum kobject_kind kind;
	uint32_t id;

	return kobject_identify(fd, &kind, &id) == 0 && kind == KOBJECT_MAP && id == map->real_id;
}

int uspace_table_command(struct call *call, struct uspace_map *map)
{
	const struct abi_map_elem *attr = &call->attr.map_elem;
	const int cmd = (int)call->notif.data.args[0];
	cleanup_fd int map_fd = -1;
	cleanup_free void *key = NULL;
	int guest_fd = -1, r;

	if (cmd != BPF_MAP_UPDATE_ELEM && cmd != BPF_MAP_DELETE_ELEM)
		return CALL_CONTINUE;
	map_fd = guest_get_fd(&call->guest, (int)attr->map_fd);
	if (map_fd < 0)
		return map_fd;
	key = malloc(map->record.key_size);
	if (!key)
		return -ENOMEM;
	r = guest_read(&call->guest, attr->key, key, map->record.key_size);
	if (r == 0 && cmd == BPF_MAP_UPDATE_ELEM)
		r = guest_read(&call->guest, attr->value, &guest_fd, sizeof(guest_fd));
	if (r == 0 && !guest_valid(&call->guest))
		r = -ESRCH;
	if (r < 0)
		return r;
	if (!is_the_map(map, map_fd))
		return CALL_CONTINUE;
	return uspace_table_change(call, map, map_fd, cmd, key, guest_fd, attr->flags);
}
