/* SPDX-License-Identifier: MIT */
/*
 * Event rings: a program writes into the ring of the slot it owns, the daemon's forwarder takes
 * out. See struct region_ring. Both sides take what the other wrote for hostile.
 */
#include <errno.h>

#include "vm/runtime/bytes.h"
#include "vm/runtime/helpers.h"

#define INDEX_MASK  0xffffffffull /* BPF_F_INDEX_MASK */
#define CURRENT_CPU 0xffffffffull /* BPF_F_CURRENT_CPU */
#define FUTEX_WAKE  1		  /* not FUTEX_PRIVATE_FLAG: the forwarder is another process */
#define RING_MASK   (REGION_RING_SIZE - 1)

static struct region_ring *ring_at(unsigned char *base, uint32_t slot)
{
	return &region_shared(base)->rings[slot];
}

static unsigned char *ring_bytes(unsigned char *base, uint32_t slot)
{
	return base + REGION_SHARED + REGION_RINGS + (uint64_t)slot * REGION_RING_SIZE;
}

static void ring_put(unsigned char *ring, uint64_t at, const void *src, uint32_t len)
{
	uint32_t offset = at & RING_MASK;
	uint32_t first = REGION_RING_SIZE - offset < len ? REGION_RING_SIZE - offset : len;

	rt_copy(ring + offset, src, first);
	rt_copy(ring, (const unsigned char *)src + first, len - first);
}

static void ring_get(const unsigned char *ring, uint64_t at, void *dst, uint32_t len)
{
	uint32_t offset = at & RING_MASK;
	uint32_t first = REGION_RING_SIZE - offset < len ? REGION_RING_SIZE - offset : len;

	rt_copy(dst, ring + offset, first);
	rt_copy((unsigned char *)dst + first, ring, len - first);
}

/*
 * The forwarder writes 1 to @waiting, looks at all heads once more and sleeps if they are as they
 * were. Our head must therefore be visible before we look at @waiting: a full barrier, which
 * release and acquire alone are not.
 */
static void forwarder_wake(unsigned char *base)
{
	uint32_t *waiting = &region_shared(base)->waiting;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!rt_load(waiting) || !__atomic_exchange_n(waiting, 0, __ATOMIC_RELAXED))
		return;
	rt_syscall4(__NR_futex, (long)waiting, FUTEX_WAKE, 1, 0);
}

/* Counted for the forwarder, which has the kernel tell the tool. */
static int event_lost(unsigned char *base, const struct region_map *map, uint32_t slot)
{
	uint64_t *lost = (uint64_t *)(base + map->data) + slot;

	rt_store(lost, rt_load(lost) + 1);
	forwarder_wake(base);
	return -ENOSPC;
}

static int ring_write(unsigned char *base, uint32_t slot, const struct region_map *map,
		      const struct region_event *event, const void *data)
{
	struct region_ring *ring = ring_at(base, slot);
	unsigned char *bytes = ring_bytes(base, slot);
	uint64_t need = sizeof(*event) + rt_align8(event->size);
	uint64_t head = rt_load(&ring->head) & ~7ull;
	/* Acquire: the forwarder has read what stood there before it moved the tail. */
	uint64_t used = head - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);

	if (used > REGION_RING_SIZE || REGION_RING_SIZE - used < need)
		return event_lost(base, map, slot);
	ring_put(bytes, head, event, sizeof(*event));
	ring_put(bytes, head + sizeof(*event), data, event->size);
	/* Release: the record is complete before the head says so. */
	__atomic_store_n(&ring->head, head + need, __ATOMIC_RELEASE);
	forwarder_wake(base);
	return 0;
}

/*
 * r1 context, r2 map, r3 flags, r4 data, r5 size. Whether a tool has opened a buffer for the
 * processor is known to the forwarder only, so there is no -ENOENT.
 */
uint64_t rt_perf_event_output(RT_HELPER_ARGS)
{
	const struct region_map *map = (const void *)r2;
	struct region_event event = {.size = (uint32_t)r5, .map = map->id, .flags = r3};
	uint64_t index = r3 & INDEX_MASK;

	if (r3 & ~INDEX_MASK)
		return (uint64_t)-EINVAL;
	if (index == CURRENT_CPU)
		index = run->slot;
	if (index >= map->max_entries || r5 > REGION_EVENT_MAX)
		return (uint64_t)-E2BIG;
	if (index != run->slot)
		return (uint64_t)-EOPNOTSUPP;
	if (run->slot >= REGION_RINGS_MAX)
		return (uint64_t)-ENOSPC;
	return (uint64_t)(int64_t)ring_write(run->base, run->slot, map, &event, (const void *)r4);
}

/* Drops what the ring holds. */
static int ring_empty(struct region_ring *ring, uint64_t head)
{
	__atomic_store_n(&ring->tail, head & ~7ull, __ATOMIC_RELEASE);
	return 0;
}

int rt_ring_read(unsigned char *base, uint32_t slot, struct region_event *ret_event, void *ret_data)
{
	struct region_ring *ring;
	struct region_event event;
	uint64_t head, tail, avail;

	if (slot >= REGION_RINGS_MAX)
		return 0;
	ring = ring_at(base, slot);
	/* Acquire: the record is read after the head that announces it. */
	head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
	tail = rt_load(&ring->tail);
	avail = head - tail;
	if (!avail)
		return 0;
	if (avail > REGION_RING_SIZE || avail < sizeof(event) || (head | tail) % 8)
		return ring_empty(ring, head);
	ring_get(ring_bytes(base, slot), tail, &event, sizeof(event));
	if (event.size > REGION_EVENT_MAX || sizeof(event) + rt_align8(event.size) > avail)
		return ring_empty(ring, head);
	ring_get(ring_bytes(base, slot), tail + sizeof(event), ret_data, event.size);
	*ret_event = event;
	tail += sizeof(event) + rt_align8(event.size);
	/* Release: the bytes have been read before the producer may overwrite them. */
	__atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
	return 1;
}
