/* SPDX-License-Identifier: MIT */
/*
 * Event rings: programs write, the daemon's forwarder reads. See struct region_ring.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "vm/runtime/helpers.h"
#include "vm/runtime/local.h"

static unsigned char *ring_bytes(unsigned char *base, uint32_t slot)
{
	return base + REGION_SHARED + REGION_RINGS + (uint64_t)slot * REGION_RING_SIZE;
}

/* Copy in, around the ring's end. */
static void ring_put(unsigned char *bytes, uint64_t at, const void *from, uint32_t len)
{
	uint32_t offset = (uint32_t)at % REGION_RING_SIZE, first = REGION_RING_SIZE - offset;

	if (first > len)
		first = len;
	rt_copy(bytes + offset, from, first);
	rt_copy(bytes, (const unsigned char *)from + first, len - first);
}

static void ring_get(const unsigned char *bytes, uint64_t at, void *to, uint32_t len)
{
	uint32_t offset = (uint32_t)at % REGION_RING_SIZE, first = REGION_RING_SIZE - offset;

	if (first > len)
		first = len;
	rt_copy(to, bytes + offset, first);
	rt_copy((unsigned char *)to + first, bytes, len - first);
}

static void wake_forwarder(struct region_shared *shared)
{
	/* The head was published before: either we see that the forwarder sleeps, or it sees the
	 * head when it looks a last time. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&shared->waiting, __ATOMIC_RELAXED) &&
	    __atomic_exchange_n(&shared->waiting, 0, __ATOMIC_SEQ_CST))
		rt_syscall(SYS_futex, (long)&shared->waiting, FUTEX_WAKE, 1, 0, 0, 0);
}

/* The caller owns @slot. */
static int ring_write(unsigned char *base, uint32_t slot, const struct region_event *event,
		      const void *data)
{
	struct region_ring *ring = &rt_shared(base)->rings[slot];
	unsigned char *bytes = ring_bytes(base, slot);
	uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
	uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
	uint64_t need = sizeof(*event) + ((event->size + 7ull) & ~7ull);

	if (head - tail > REGION_RING_SIZE || need > REGION_RING_SIZE - (head - tail)) {
		ring->lost++;
		return -ENOSPC;
	}
	ring_put(bytes, head, event, sizeof(*event));
	ring_put(bytes, head + sizeof(*event), data, event->size);
	/* The consumer that sees the new head sees what lies before it. */
	__atomic_store_n(&ring->head, head + need, __ATOMIC_RELEASE);
	wake_forwarder(rt_shared(base));
	return 0;
}

/* r1 ctx, r2 map, r3 flags, r4 data, r5 size. Source: ____bpf_perf_event_output(), kernel/trace/
 * bpf_trace.c, Linux 6.18. */
uint64_t rt_perf_event_output(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
			      struct rt_run *run)
{
	const struct region_map *map = (const void *)r2;
	struct region_event event = {.size = (uint32_t)r5, .map = map->id, .flags = r3};
	uint64_t index = r3 & BPF_F_INDEX_MASK;

	if (r3 & ~BPF_F_INDEX_MASK)
		return (uint64_t)-EINVAL;
	if (index != BPF_F_CURRENT_CPU && index >= map->max_entries)
		return (uint64_t)-E2BIG;
	if (r5 > REGION_EVENT_MAX)
		return (uint64_t)-E2BIG;
	return (uint64_t)(int64_t)ring_write(run->base, run->slot, &event, (const void *)r4);
}

int rt_ring_read(unsigned char *base, uint32_t slot, struct region_event *ret_event, void *ret_data)
{
	struct region_ring *ring = &rt_shared(base)->rings[slot];
	const unsigned char *bytes = ring_bytes(base, slot);
	uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
	uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE), used = head - tail, need;

	if (!used)
		return 0;
	if (used >= sizeof(*ret_event) && used <= REGION_RING_SIZE) {
		ring_get(bytes, tail, ret_event, sizeof(*ret_event));
		need = sizeof(*ret_event) + ((ret_event->size + 7ull) & ~7ull);
		if (ret_event->size <= REGION_EVENT_MAX && need <= used) {
			ring_get(bytes, tail + sizeof(*ret_event), ret_data, ret_event->size);
			__atomic_store_n(&ring->tail, tail + need, __ATOMIC_RELEASE);
			return 1;
		}
	}
	/* No producer of ours left it like this: somebody scribbled on it. Start over. */
	__atomic_store_n(&ring->tail, head, __ATOMIC_RELEASE);
	return 0;
}
