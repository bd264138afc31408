/* SPDX-License-Identifier: MIT */
/*
 * Ring buffers: records on their way from the event rings to the tool's ring, in the order in which
 * programs claimed room for them. What the kernel's ring has no room for waits in the map's batch,
 * and when that is full where the program wrote it; so does what comes after a record that is not
 * written yet.
 *
 * All of this is the event thread's, but for making and freeing a map's part.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <time.h>

#include "kernel-bridge/ringbuf.h"
#include "notifier/uspace.h"
#include "vm/runtime/runtime.h"

/* A program is late by more than that when its thread was stopped, or does not get its turn. */
#define GAP_MS 100

#define WAKEUP_FLAGS ((uint64_t)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))

static struct region_ringbuf *counters(const struct uspace_map *map)
{
	return (void *)(map->uspace->base + map->record.extra);
}

int uspace_ring_new(struct uspace_map *map)
{
	struct uspace *uspace = map->uspace;

	map->record.extra = (uint32_t)uspace_space_take(uspace, &uspace->map_memory,
							sizeof(struct region_ringbuf));
	return map->record.extra ? 0 : -ENOSPC;
}

void uspace_ring_free(struct uspace_map *map)
{
	if (map->record.type != BPF_MAP_TYPE_RINGBUF)
		return;
	ringbuf_free(map->ring.writer);
	if (map->record.extra)
		madvise(counters(map), sizeof(struct region_ringbuf), MADV_REMOVE);
	uspace_space_give(map->uspace, &map->uspace->map_memory, map->record.extra,
			  sizeof(struct region_ringbuf));
}

/* Where what comes next will be in the ring, and so what comes later. */
static void tell_offset(struct uspace_map *map)
{
	const struct ringbuf *writer = map->ring.writer;

	__atomic_store_n(&counters(map)->offset,
			 ringbuf_position(writer) + ringbuf_queued(writer) - map->ring.next,
			 __ATOMIC_RELEASE);
}

int uspace_ring_open(struct uspace_map *map, int fd)
{
	int r = 0;

	pthread_mutex_lock(&map->uspace->lock);
	if (!map->ring.writer) {
		r = ringbuf_new(fd, map->record.max_entries, &map->ring.writer);
		if (r == 0)
			tell_offset(map);
	}
	pthread_mutex_unlock(&map->uspace->lock);
	return r;
}

/* When no program that may write is attached, and all is delivered: the tool's ring would live as
 * long as a program of ours uses it, and nobody would know that the tool has ended. */
static void close_unused(struct uspace_map *map)
{
	if (atomic_load(&map->users) || map->ring.busy || ringbuf_queued(map->ring.writer))
		return;
	map->ring.writer = ringbuf_free(map->ring.writer);
}

static uint64_t claims(const struct uspace_map *map)
{
	return __atomic_load_n(&counters(map)->claimed, __ATOMIC_ACQUIRE);
}

static void set_busy(struct uspace_map *map)
{
	if (map->ring.busy)
		return;
	map->ring.busy = true;
	list_append(&map->uspace->rings_busy, &map->ring.node);
	uspace_map_ref(map);
}

static void set_idle(struct uspace_map *map)
{
	list_remove(&map->ring.node);
	map->ring.busy = false;
	uspace_map_unref(map);
}

/*
 * How far @position is ahead of what is to come next; 0 for it, and for what its turn has passed
 * by, or was never claimed.
 */
static uint64_t distance(struct uspace_map *map, uint64_t position)
{
	const struct region_header *header = (void *)map->uspace->base;
	uint64_t open = claims(map) - map->ring.next;

	/* More than the event rings can hold: somebody wrote to the counter. */
	if (open > (uint64_t)header->slots * REGION_RING_SIZE)
		map->ring.next += open;
	return position - map->ring.next < open ? position - map->ring.next : 0;
}

static bool queue(struct uspace_map *map, uint32_t slot, const struct region_event *event,
		  void *data)
{
	int r;

	if (event->flags & REGION_RECORD_DISCARD)
		return true;
	rt_ring_data(map->uspace->base, slot, event, data);
	r = ringbuf_output(map->ring.writer, event->flags & WAKEUP_FLAGS, data, event->size);
	/* No program can have written one that is too long. */
	return r == 0 || r == -E2BIG;
}

bool uspace_ring_take(struct uspace_map *map, uint32_t slot, const struct region_event *event,
		      void *data)
{
	struct uspace_ring *ring = &map->ring;
	uint64_t position = event->flags & ~(uint64_t)REGION_RECORD_FLAGS;
	uint64_t ahead = distance(map, position);

	set_busy(map);
	if (ahead) {
		if (!ring->ahead || ahead < ring->ahead)
			ring->ahead = ahead;
		return false;
	}
	if (!queue(map, slot, event, data))
		return false;
	ring->ahead = 0;
	if (position == ring->next)
		ring->next += region_ringbuf_need(event->size);
	return true;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whoever is to write what comes next was perhaps killed. Were it only late, its record would be
 * taken when it comes. */
static void look_at_gap(struct uspace_ring *ring)
{
	if (ring->gap_at != ring->next || !ring->gap_since) {
		ring->gap_at = ring->next;
		ring->gap_since = now_ms();
	} else if (now_ms() - ring->gap_since >= GAP_MS) {
		ring->next += ring->ahead;
		ring->gap_since = 0;
	}
}

/* Return: whether the map has to be looked at again. */
static bool flush(struct uspace_map *map)
{
	struct uspace_ring *ring = &map->ring;
	bool waits = ring->ahead;

	ringbuf_flush(ring->writer);
	if (ring->ahead && !ringbuf_queued(ring->writer))
		look_at_gap(ring);
	ring->ahead = 0;
	tell_offset(map);
	return waits || ringbuf_queued(ring->writer);
}

bool uspace_rings_flush(struct uspace *uspace)
{
	struct uspace_map *map, *tmp;

	list_for_each_safe(map, tmp, &uspace->rings_busy, ring.node)
	{
		/* Ours is the last reference: no tool and no program is there any more. */
		if (!flush(map) || __atomic_load_n(&map->refs, __ATOMIC_RELAXED) == 1)
			set_idle(map);
	}
	return !list_empty(&uspace->rings_busy);
}

void uspace_rings_give_up(struct uspace *uspace)
{
	struct uspace_map *map, *tmp;

	list_for_each_safe(map, tmp, &uspace->rings_busy, ring.node) set_idle(map);
}

/* Twice the same claims and nothing on its way: what is missing was never written. */
static void settle_claims(struct uspace_map *map)
{
	uint64_t claimed = claims(map);

	if (claimed == map->ring.idle)
		map->ring.next = claimed;
	map->ring.idle = claimed;
	/* Programs in the kernel may have written. */
	tell_offset(map);
}

void uspace_rings_settle(struct uspace *uspace)
{
	struct uspace_map *map;

	pthread_mutex_lock(&uspace->lock);
	list_for_each(map, &uspace->maps, node)
	{
		if (!map->ring.writer)
			continue;
		settle_claims(map);
		close_unused(map);
	}
	pthread_mutex_unlock(&uspace->lock);
}
