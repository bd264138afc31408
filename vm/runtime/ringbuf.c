/* SPDX-License-Identifier: MIT */
/*
 * Ring buffers. Records wait in the slot's event ring until the daemon has the kernel write them to
 * the tool's ring. Whether there is room is decided here, as the kernel decides it (Linux 6.18,
 * kernel/bpf/ringbuf.c): what a record will need there is claimed before it is written, so that a
 * program learns of a full ring at once and nothing that was written is lost.
 */
#include <errno.h>

#include "vm/runtime/helpers.h"
#include "vm/runtime/map.h"
#include "vm/runtime/ring.h"

/* BPF_RB_* of include/uapi/linux/bpf.h, which is not freestanding. */
#define NO_WAKEUP    1u
#define FORCE_WAKEUP 2u
#define AVAIL_DATA   0u
#define RING_SIZE    1u
#define CONS_POS     2u
#define PROD_POS     3u

#define RECORD_MAX (UINT32_MAX / 4) /* RINGBUF_MAX_RECORD_SZ */

/* Exchanges tried before the ring counts as full: others cannot hold us up for ever. */
#define TRIES 256

/* Pages of data, a power of two of them. Source: ringbuf_map_alloc(). */
int ringbuf_layout(const struct region_map *map, uint64_t *ret_size)
{
	uint32_t size = map->max_entries;

	if (map->key_size || map->value_size || !size || size & (size - 1) || size % RT_PAGE)
		return -EINVAL;
	*ret_size = REGION_RINGBUF_PAGE;
	return 0;
}

static struct region_ringbuf *counters(unsigned char *base, const struct region_map *map)
{
	return RT_PTR(base, map->extra);
}

static uint64_t consumer_pos(unsigned char *base, const struct region_map *map)
{
	return __atomic_load_n((uint64_t *)RT_PTR(base, map->data), __ATOMIC_ACQUIRE);
}

/* The kernel's position of what is at @claimed. */
static uint64_t producer_pos(unsigned char *base, const struct region_map *map, uint64_t claimed)
{
	return claimed + __atomic_load_n(&counters(base, map)->offset, __ATOMIC_ACQUIRE);
}

/*
 * Bytes that are not read yet when all has arrived. A reader that is ahead of that has read what
 * programs in the kernel wrote, of which the daemon has not heard yet.
 */
static uint64_t bytes_used(unsigned char *base, const struct region_map *map, uint64_t claimed)
{
	uint64_t used = producer_pos(base, map, claimed) - consumer_pos(base, map);

	return (int64_t)used > 0 ? used : 0;
}

/* The numbers may be anything: nothing is added up that is out of bounds. */
static bool has_room(unsigned char *base, const struct region_map *map, uint64_t claimed,
		     uint64_t need)
{
	uint64_t used = bytes_used(base, map, claimed);

	return used < map->max_entries && used + need < map->max_entries;
}

/* @ret_position: of the record; a multiple of 8, whatever stands there */
static bool claim(unsigned char *base, const struct region_map *map, uint64_t need,
		  uint64_t *ret_position)
{
	uint64_t *claimed = &counters(base, map)->claimed;
	uint64_t value = __atomic_load_n(claimed, __ATOMIC_ACQUIRE);

	for (int i = 0; i < TRIES; i++) {
		uint64_t now = value;

		if (!has_room(base, map, value, need)) {
			/* What was looked at may have gone on since. */
			now = __atomic_load_n(claimed, __ATOMIC_ACQUIRE);
			if (now == value)
				return false;
			value = now;
		} else if (__atomic_compare_exchange_n(claimed, &value, value + need, false,
						       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			*ret_position = now & ~(uint64_t)REGION_RECORD_FLAGS;
			return true;
		}
	}
	return false;
}

/* r1 map, r2 data, r3 size, r4 flags */
uint64_t rt_ringbuf_output(RT_HELPER_ARGS)
{
	const struct region_map *map = (const void *)r1;
	struct region_event event = {.size = (uint32_t)r3, .map = map->id};

	if (r4 & ~(uint64_t)(NO_WAKEUP | FORCE_WAKEUP))
		return (uint64_t)-EINVAL;
	if (r3 > RECORD_MAX || region_ringbuf_need(r3) >= map->max_entries)
		return (uint64_t)-EAGAIN;
	if (r3 > REGION_EVENT_MAX)
		return (uint64_t)-E2BIG;
	/* Room here is the owner's to use up, so it is looked at first: a claim is not given back.
	 */
	if (run->slot >= REGION_RINGS_MAX || !ring_has_room(run->base, run->slot, event.size) ||
	    !claim(run->base, map, region_ringbuf_need(r3), &event.flags))
		return (uint64_t)-EAGAIN;
	event.flags |= r4;
	ring_write(run->base, run->slot, &event, (const void *)r2);
	return 0;
}

/* r1 map, r2 size, r3 flags */
uint64_t rt_ringbuf_reserve(RT_HELPER_ARGS)
{
	const struct region_map *map = (const void *)r1;
	struct region_event event = {.size = (uint32_t)r2, .map = map->id};

	if (r3 || r2 > REGION_EVENT_MAX || run->slot >= REGION_RINGS_MAX)
		return 0;
	if (!ring_can_reserve(run->base, run->slot, event.size) ||
	    !claim(run->base, map, region_ringbuf_need(r2), &event.flags))
		return 0;
	return (uint64_t)ring_reserve(run->base, run->slot, &event);
}

/* r1 record, r2 flags; the kernel looks at two of them and at no others. */
uint64_t rt_ringbuf_submit(RT_HELPER_ARGS)
{
	ring_commit(run->base, run->slot, (void *)r1, r2 & (NO_WAKEUP | FORCE_WAKEUP));
	return 0;
}

uint64_t rt_ringbuf_discard(RT_HELPER_ARGS)
{
	ring_commit(run->base, run->slot, (void *)r1, REGION_RECORD_DISCARD);
	return 0;
}

/* r1 map, r2 what. What is on the way counts as written. */
uint64_t rt_ringbuf_query(RT_HELPER_ARGS)
{
	const struct region_map *map = (const void *)r1;
	uint64_t claimed = __atomic_load_n(&counters(run->base, map)->claimed, __ATOMIC_ACQUIRE);

	switch (r2) {
	case AVAIL_DATA:
		return bytes_used(run->base, map, claimed);
	case RING_SIZE:
		return map->max_entries;
	case CONS_POS:
		return consumer_pos(run->base, map);
	case PROD_POS:
		return producer_pos(run->base, map, claimed);
	default:
		return 0;
	}
}
