/* SPDX-License-Identifier: MIT */
/*
 * Perf event arrays: which buffer of the tool's stands at an index, and the events that found the
 * ring in the region full.
 *
 * Events reach the buffers by an array of ours that has the same events as the tool's
 * (kernel-bridge/ forward.h). The tool's own would never end if a program of ours used it, and the
 * tool's other objects are known to have ended by that.
 *
 * A tool learns of losses by PERF_RECORD_LOST in its buffer, which the kernel alone can write, and
 * does in front of the next event. forward_lose() makes it count what we lost as well.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/forward.h"
#include "kernel-bridge/kobject.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "notifier/uspace_elem.h"

/* More than that were not lost since the last look: a process of the tenant wrote to the counter.
 */
#define LOST_MAX (1ull << 26)
/* Told at once: each keeps a processor's interrupts off for about 0.1 us. The thread rests as long
 * as it took, so that nobody else's processor is taken away by counters that say what they like. */
#define LOST_PART 0x2000u
/* Descriptors of the tenant's events that are kept: a tenant could put one event into many maps.
 * What is lost on the way to the others is not told. */
#define EVENTS_MAX 512u

/**
 * struct uspace_output - one index of the map, which is the number of a slot too
 * @event_fd: the tool's event, or -1; its file, so it lives until the map's record goes
 * @lost: what the counter stood at when the tool was told last, or when the event came
 * @turn: counts events that came
 */
struct uspace_output {
	int event_fd;
	uint32_t turn;
	uint64_t lost;
};

static uint32_t slots_of(const struct uspace *uspace)
{
	return ((const struct region_header *)(void *)uspace->base)->slots;
}

int uspace_outputs_new(struct uspace_map *map)
{
	uint32_t slots = slots_of(map->uspace);
	struct abi_map_create attr = {.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY,
				      .key_size = sizeof(uint32_t),
				      .value_size = sizeof(int),
				      .max_entries = map->record.max_entries,
				      .map_name = "bpfshim_outputs"};

	map->events_fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (map->events_fd < 0)
		return map->events_fd;
	map->outputs = calloc(slots, sizeof(*map->outputs));
	if (!map->outputs) {
		close_fd(map->events_fd);
		return -ENOMEM;
	}
	pthread_mutex_init(&map->outputs_lock, NULL);
	for (uint32_t i = 0; i < slots; i++)
		map->outputs[i].event_fd = -1;
	map->record.data_size = slots * sizeof(uint64_t);
	return 0;
}

void uspace_outputs_free(struct uspace_map *map)
{
	if (!map->outputs)
		return;
	pthread_mutex_lock(&map->uspace->lock);
	for (uint32_t i = 0; i < slots_of(map->uspace); i++)
		map->uspace->output_events -= map->outputs[i].event_fd >= 0;
	pthread_mutex_unlock(&map->uspace->lock);
	for (uint32_t i = 0; i < slots_of(map->uspace); i++)
		close_fd(map->outputs[i].event_fd);
	close_fd(map->events_fd);
	pthread_mutex_destroy(&map->outputs_lock);
	free(map->outputs);
	map->outputs = NULL;
}

static uint64_t counter(const struct uspace_map *map, uint32_t slot)
{
	const uint64_t *counters = (void *)(map->uspace->base + map->record.data);

	return __atomic_load_n(&counters[slot], __ATOMIC_RELAXED);
}

/* What was lost before is not the new event's. Return: the old one's descriptor, or -1. */
static int set_event(struct uspace_map *map, uint32_t index, int *event_fd)
{
	struct uspace_output *output = &map->outputs[index];
	int old;

	output->turn++;
	__atomic_store_n(&output->lost, counter(map, index), __ATOMIC_RELAXED);
	pthread_mutex_lock(&map->uspace->lock);
	old = output->event_fd;
	if (old >= 0 || map->uspace->output_events < EVENTS_MAX) {
		map->uspace->output_events += old < 0;
		output->event_fd = take_fd(event_fd);
	} else {
		old = -1;
	}
	pthread_mutex_unlock(&map->uspace->lock);
	return old;
}

/* What the tool's array has at @index, @event_fd or with -1 nothing, ours has, too. */
static void mirror(const struct uspace_map *map, uint32_t index, int event_fd)
{
	struct abi_map_elem attr = {.map_fd = (uint32_t)map->events_fd,
				    .key = (uintptr_t)&index,
				    .value = (uintptr_t)&event_fd};

	/* There is the memory, or the tool's own array would not have taken it. */
	sys_bpf(event_fd < 0 ? BPF_MAP_DELETE_ELEM : BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
}

/*
 * The tool's own descriptors: the kernel takes an event out of the map when the file of the map by
 * which it was put there is closed (perf_event_fd_array_release(), kernel/bpf/arraymap.c).
 */
int uspace_output_update(struct call *call, struct uspace_map *map)
{
	struct abi_map_elem *attr = &call->attr.map_elem;
	cleanup_fd int map_fd = guest_get_fd(&call->guest, (int)attr->map_fd);
	cleanup_fd int event_fd = -1, old_fd = -1;
	enum kobject_kind kind;
	uint32_t index, id;
	int guest_fd, r;

	if (map_fd < 0)
		return map_fd;
	r = guest_read(&call->guest, attr->key, &index, sizeof(index));
	if (r == 0)
		r = guest_read(&call->guest, attr->value, &guest_fd, sizeof(guest_fd));
	if (r == 0 && !guest_valid(&call->guest))
		r = -ESRCH;
	if (r < 0)
		return r;
	event_fd = guest_get_fd(&call->guest, guest_fd);
	/* Not the map any more, or no event: the kernel says so. */
	if (event_fd < 0 || kobject_identify(map_fd, &kind, &id) < 0 || kind != KOBJECT_MAP ||
	    id != map->real_id)
		return CALL_CONTINUE;
	attr->map_fd = (uint32_t)map_fd;
	attr->key = (uintptr_t)&index;
	attr->value = (uintptr_t)&event_fd;
	/* In one with its note: a loss that is told in between would pause one event and be counted
	 * by the other. */
	pthread_mutex_lock(&map->outputs_lock);
	r = sys_bpf(BPF_MAP_UPDATE_ELEM, attr, sizeof(*attr));
	if (r == 0)
		mirror(map, index, event_fd);
	if (r == 0 && index < slots_of(map->uspace))
		old_fd = set_event(map, index, &event_fd);
	pthread_mutex_unlock(&map->outputs_lock);
	return r;
}

int uspace_output_delete(struct call *call, struct uspace_map *map)
{
	struct abi_map_elem *attr = &call->attr.map_elem;
	cleanup_fd int map_fd = guest_get_fd(&call->guest, (int)attr->map_fd);
	cleanup_fd int old_fd = -1;
	enum kobject_kind kind;
	uint32_t index, id;
	int r;

	if (map_fd < 0)
		return map_fd;
	r = guest_read(&call->guest, attr->key, &index, sizeof(index));
	if (r == 0 && !guest_valid(&call->guest))
		r = -ESRCH;
	if (r < 0)
		return r;
	if (kobject_identify(map_fd, &kind, &id) < 0 || kind != KOBJECT_MAP || id != map->real_id)
		return CALL_CONTINUE;
	attr->map_fd = (uint32_t)map_fd;
	attr->key = (uintptr_t)&index;
	pthread_mutex_lock(&map->outputs_lock);
	r = sys_bpf(BPF_MAP_DELETE_ELEM, attr, sizeof(*attr));
	if (r == 0)
		mirror(map, index, -1);
	if (r == 0 && index < slots_of(map->uspace)) {
		pthread_mutex_lock(&map->uspace->lock);
		map->uspace->output_events -= map->outputs[index].event_fd >= 0;
		old_fd = map->outputs[index].event_fd;
		map->outputs[index].event_fd = -1;
		map->outputs[index].turn++;
		pthread_mutex_unlock(&map->uspace->lock);
	}
	pthread_mutex_unlock(&map->outputs_lock);
	return r;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void rest(int64_t ns)
{
	const struct timespec nap = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	nanosleep(&nap, NULL);
}

/* Of @lost as many as are told at once, unless the event is another one than in turn @turn.
 * Return: how many are left. */
static uint64_t lose_part(struct uspace_map *map, uint32_t slot, uint32_t turn, uint64_t lost)
{
	struct uspace_output *output = &map->outputs[slot];
	uint32_t part = lost < LOST_PART ? (uint32_t)lost : LOST_PART;
	bool told;

	pthread_mutex_lock(&map->outputs_lock);
	told = output->turn == turn && output->event_fd >= 0 &&
	       forward_lose(map->forward, slot, output->event_fd, part) == 0;
	pthread_mutex_unlock(&map->outputs_lock);
	return told ? lost - part : 0;
}

void uspace_output_report(struct uspace_map *map, uint32_t slot)
{
	struct uspace_output *output = &map->outputs[slot];
	uint64_t now, lost;
	uint32_t turn;

	pthread_mutex_lock(&map->outputs_lock);
	turn = output->turn;
	now = counter(map, slot);
	lost = now - output->lost;
	__atomic_store_n(&output->lost, now, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&map->outputs_lock);
	if (lost > LOST_MAX)
		return;
	while (lost && !atomic_load(&map->uspace->events_stop)) {
		int64_t before = now_ns();

		lost = lose_part(map, slot, turn, lost);
		if (lost)
			rest(now_ns() - before);
	}
}

static bool has_losses(const struct uspace_map *map)
{
	for (uint32_t slot = 0; slot < slots_of(map->uspace); slot++)
		if (counter(map, slot) !=
		    __atomic_load_n(&map->outputs[slot].lost, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* The next one behind map number @last, or the first, with a reference. */
static struct uspace_map *next_with_losses(struct uspace *uspace, uint32_t last)
{
	struct uspace_map *map, *first = NULL, *next = NULL;

	pthread_mutex_lock(&uspace->lock);
	list_for_each(map, &uspace->maps, node)
	{
		if (!map->outputs || !map->forward || (first && map->record.id <= last) ||
		    !has_losses(map))
			continue;
		first = first ? first : map;
		if (map->record.id <= last)
			continue;
		next = map;
		break;
	}
	next = next ? next : first;
	if (next)
		uspace_map_ref(next);
	pthread_mutex_unlock(&uspace->lock);
	return next;
}

uint32_t uspace_outputs_look(struct uspace *uspace, uint32_t last)
{
	struct uspace_map *map;
	uint32_t id;

	if (!atomic_load(&uspace->output_maps))
		return last;
	map = next_with_losses(uspace, last);
	if (!map)
		return last;
	id = map->record.id;
	for (uint32_t slot = 0; slot < slots_of(uspace); slot++)
		uspace_output_report(map, slot);
	uspace_map_unref(map);
	return id;
}
