/* SPDX-License-Identifier: MIT */
/*
 * Event rings: a program writes into the ring of the slot it owns, the daemon's forwarder takes
 * out. See struct region_ring. Both sides take what the other wrote for hostile.
 */
#include <errno.h>

#include "vm/runtime/helpers.h"
#include "vm/runtime/ring.h"

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

static uint64_t ring_need(uint32_t size)
{
	return sizeof(struct region_event) + rt_align8(size);
}

/* Bytes that this run has written behind the head, where it still has records reserved. */
static __attribute__((noinline)) uint64_t ring_pending(unsigned char *base, uint32_t slot)
{
	struct region_ring *ring = ring_at(base, slot);

	if (rt_load(&ring->episode) == rt_load(&region_shared(base)->slots[slot].episodes))
		return rt_load(&ring->pending) & ~7ull;
	rt_store(&ring->outstanding, 0);
	return 0;
}

/* Where the next record begins. */
static uint64_t ring_end(unsigned char *base, uint32_t slot)
{
	struct region_ring *ring = ring_at(base, slot);
	uint64_t head = rt_load(&ring->head) & ~7ull;

	return rt_likely(!rt_load(&ring->outstanding)) ? head : head + ring_pending(base, slot);
}

/* Bytes there are from @end on. */
static uint64_t ring_room(const struct region_ring *ring, uint64_t end)
{
	/* Acquire: the forwarder has read what stood there before it moved the tail. */
	uint64_t used = end - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);

	return used > REGION_RING_SIZE ? 0 : REGION_RING_SIZE - used;
}

static void ring_publish(unsigned char *base, uint32_t slot, uint64_t end)
{
	/* Release: the records are complete before the head says so. */
	__atomic_store_n(&ring_at(base, slot)->head, end, __ATOMIC_RELEASE);
	forwarder_wake(base);
}

/* Return: whether there is room for the event from @end on. */
rt_inline bool ring_fill(unsigned char *base, uint32_t slot, uint64_t end,
			 const struct region_event *event, const void *data)
{
	unsigned char *bytes = ring_bytes(base, slot);

	if (ring_room(ring_at(base, slot), end) < ring_need(event->size))
		return false;
	ring_put(bytes, end, event, sizeof(*event));
	ring_put(bytes, end + sizeof(*event), data, event->size);
	return true;
}

/* Behind what was reserved and is not given back yet, if the run that did so is this one. */
static __attribute__((noinline)) bool
write_behind(unsigned char *base, uint32_t slot, const struct region_event *event, const void *data)
{
	struct region_ring *ring = ring_at(base, slot);
	uint64_t end = ring_end(base, slot);

	if (!ring_fill(base, slot, end, event, data))
		return false;
	end += ring_need(event->size);
	if (rt_load(&ring->outstanding))
		rt_store(&ring->pending, end - (rt_load(&ring->head) & ~7ull));
	else
		ring_publish(base, slot, end);
	return true;
}

/* The usual case first: nothing is reserved. */
rt_inline bool write_event(unsigned char *base, uint32_t slot, const struct region_event *event,
			   const void *data)
{
	struct region_ring *ring = ring_at(base, slot);
	uint64_t head = rt_load(&ring->head) & ~7ull;

	if (rt_unlikely(rt_load(&ring->outstanding)))
		return write_behind(base, slot, event, data);
	if (!ring_fill(base, slot, head, event, data))
		return false;
	ring_publish(base, slot, head + ring_need(event->size));
	return true;
}

bool ring_has_room(unsigned char *base, uint32_t slot, uint32_t size)
{
	return ring_room(ring_at(base, slot), ring_end(base, slot)) >= ring_need(size);
}

bool ring_write(unsigned char *base, uint32_t slot, const struct region_event *event,
		const void *data)
{
	return write_event(base, slot, event, data);
}

/* Bytes to fill so that what begins at @end does not go around the ring's end. */
static uint64_t ring_gap(uint64_t end, uint64_t need)
{
	uint64_t rest = REGION_RING_SIZE - (end & RING_MASK);

	if (rest >= need)
		return 0;
	return rest < sizeof(struct region_event) ? sizeof(struct region_event) : rest;
}

bool ring_can_reserve(unsigned char *base, uint32_t slot, uint32_t size)
{
	uint64_t end = ring_end(base, slot), need = ring_need(size);

	return ring_room(ring_at(base, slot), end) >= ring_gap(end, need) + need;
}

void *ring_reserve(unsigned char *base, uint32_t slot, const struct region_event *event)
{
	struct region_ring *ring = ring_at(base, slot);
	unsigned char *bytes = ring_bytes(base, slot);
	uint64_t end = ring_end(base, slot), need = ring_need(event->size);
	uint64_t gap = ring_gap(end, need);
	/* Less than a record of the longest, so one record is enough. */
	struct region_event filler = {.size = (uint32_t)(gap - sizeof(filler))};

	if (ring_room(ring, end) < gap + need)
		return NULL;
	if (gap)
		ring_put(bytes, end, &filler, sizeof(filler));
	end += gap;
	ring_put(bytes, end, event, sizeof(*event));
	if (!rt_load(&ring->outstanding))
		rt_store(&ring->episode, rt_load(&region_shared(base)->slots[slot].episodes));
	rt_store(&ring->pending, end + need - (rt_load(&ring->head) & ~7ull));
	rt_store(&ring->outstanding, rt_load(&ring->outstanding) + 1);
	return bytes + (end & RING_MASK) + sizeof(*event);
}

void ring_commit(unsigned char *base, uint32_t slot, void *record, uint32_t flags)
{
	struct region_ring *ring = ring_at(base, slot);
	struct region_event *event = (struct region_event *)record - 1;
	uint64_t outstanding = rt_load(&ring->outstanding);

	rt_store(&event->flags, (rt_load(&event->flags) & ~(uint64_t)REGION_RECORD_FLAGS) | flags);
	if (outstanding > 1) {
		rt_store(&ring->outstanding, outstanding - 1);
		return;
	}
	rt_store(&ring->outstanding, 0);
	ring_publish(base, slot, (rt_load(&ring->head) + rt_load(&ring->pending)) & ~7ull);
}

/* Counted for the forwarder, which has the kernel tell the tool. */
static int event_lost(unsigned char *base, const struct region_map *map, uint32_t slot)
{
	uint64_t *lost = (uint64_t *)(base + map->data) + slot;

	rt_store(lost, rt_load(lost) + 1);
	forwarder_wake(base);
	return -ENOSPC;
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
	if (rt_likely(write_event(run->base, run->slot, &event, (const void *)r4)))
		return 0;
	return (uint64_t)(int64_t)event_lost(run->base, map, run->slot);
}

/* Drops what the ring holds. */
static int ring_empty(struct region_ring *ring, uint64_t head)
{
	__atomic_store_n(&ring->tail, head & ~7ull, __ATOMIC_RELEASE);
	return 0;
}

int rt_ring_peek(unsigned char *base, uint32_t slot, struct region_event *ret_event)
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
	if (event.size > REGION_EVENT_MAX || ring_need(event.size) > avail)
		return ring_empty(ring, head);
	*ret_event = event;
	return 1;
}

void rt_ring_data(unsigned char *base, uint32_t slot, const struct region_event *event,
		  void *ret_data)
{
	ring_get(ring_bytes(base, slot), rt_load(&ring_at(base, slot)->tail) + sizeof(*event),
		 ret_data, event->size);
}

void rt_ring_skip(unsigned char *base, uint32_t slot, const struct region_event *event)
{
	struct region_ring *ring = ring_at(base, slot);

	/* Release: the bytes have been read before the producer may overwrite them. */
	__atomic_store_n(&ring->tail, rt_load(&ring->tail) + ring_need(event->size),
			 __ATOMIC_RELEASE);
}

int rt_ring_read(unsigned char *base, uint32_t slot, struct region_event *ret_event, void *ret_data)
{
	if (!rt_ring_peek(base, slot, ret_event))
		return 0;
	rt_ring_data(base, slot, ret_event, ret_data);
	rt_ring_skip(base, slot, ret_event);
	return 1;
}
