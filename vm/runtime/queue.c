/* SPDX-License-Identifier: MIT */
/*
 * QUEUE and STACK: a ring of values with one lock, and room for one more than it may hold, as the
 * kernel's have (kernel/bpf/queue_stack_maps.c, Linux 6.18).
 *
 *	64 bytes	struct queue_header
 *	values		from @tail up to before @head, round the end
 *
 * What decides is one store each: a push and a stack's pop change @head, which stands in the lock
 * and is stored with its release, a queue's pop changes @tail. Who is killed before has done
 * nothing. Both numbers are hostile: behind the end they mean 0.
 */
#include <errno.h>

#include "vm/runtime/lock.h"
#include "vm/runtime/map.h"

#define TRIES 8

struct queue_header {
	uint64_t head; /* a lock, lock.h */
	uint32_t tail;
	uint32_t pad[13];
};
static_assert(sizeof(struct queue_header) == 64, "the values start on a line");

/** struct queue - a map whose lock is held @word: of the lock */
struct queue {
	const struct region_map *map;
	struct queue_header *header;
	uint64_t word;
	uint32_t head, tail, size;
};

int queue_layout(struct region_map *map, uint64_t *ret_size)
{
	*ret_size = sizeof(struct queue_header) + (map->max_entries + 1ull) * map->value_stride;
	return 0;
}

static bool queue_lock(unsigned char *base, const struct region_map *map, uint32_t slot,
		       struct queue *ret)
{
	struct queue_header *header = RT_PTR(base, map->data);

	ret->map = map;
	ret->header = header;
	ret->size = map->max_entries + 1;
	if (!lock_take(base, &header->head, lock_holder(base, slot), &ret->word))
		return false;
	ret->head = (uint32_t)ret->word;
	ret->tail = rt_load(&header->tail);
	ret->head = ret->head < ret->size ? ret->head : 0;
	ret->tail = ret->tail < ret->size ? ret->tail : 0;
	return true;
}

static bool queue_unlock(struct queue *queue, uint32_t head)
{
	return lock_give(&queue->header->head, queue->word, head);
}

static unsigned char *value_at(const struct queue *queue, uint32_t index)
{
	return (unsigned char *)(queue->header + 1) + (uint64_t)index * queue->map->value_stride;
}

static uint32_t after(const struct queue *queue, uint32_t index)
{
	return index + 1 < queue->size ? index + 1 : 0;
}

static uint32_t before(const struct queue *queue, uint32_t index)
{
	return index ? index - 1 : queue->size - 1;
}

/* Somebody who took the lock over may have moved it. */
static bool move_tail(struct queue *queue)
{
	uint32_t tail = rt_load(&queue->header->tail);

	if (tail != queue->tail && tail < queue->size)
		return false;
	return __atomic_compare_exchange_n(&queue->header->tail, &tail, after(queue, queue->tail),
					   false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static int push_once(unsigned char *base, const struct region_map *map, const void *value,
		     uint64_t flags, uint32_t slot)
{
	struct queue queue;

	if (!queue_lock(base, map, slot, &queue))
		return -EBUSY;
	if (after(&queue, queue.head) == queue.tail) {
		if (flags != MAP_EXIST) {
			queue_unlock(&queue, queue.head);
			return -E2BIG;
		}
		/* The oldest makes room. */
		if (!move_tail(&queue))
			return -EAGAIN;
	}
	rt_copy(value_at(&queue, queue.head), value, map->value_size);
	return queue_unlock(&queue, after(&queue, queue.head)) ? 0 : -EAGAIN;
}

int queue_push(unsigned char *base, const struct region_map *map, const void *value, uint64_t flags,
	       uint32_t slot)
{
	int r = -EAGAIN;

	if (flags != MAP_ANY && flags != MAP_EXIST)
		return -EINVAL;
	for (int i = 0; i < TRIES && r == -EAGAIN; i++)
		r = push_once(base, map, value, flags, slot);
	return r == -EAGAIN ? -EBUSY : r;
}

static int take_once(unsigned char *base, const struct region_map *map, void *ret_value, bool pop,
		     uint32_t slot)
{
	const bool stack = map->type == MAP_TYPE_STACK;
	struct queue queue;
	uint32_t index;

	if (!queue_lock(base, map, slot, &queue))
		return -EBUSY;
	if (queue.head == queue.tail) {
		queue_unlock(&queue, queue.head);
		return -ENOENT;
	}
	index = stack ? before(&queue, queue.head) : queue.tail;
	rt_copy(ret_value, value_at(&queue, index), map->value_size);
	if (pop && stack)
		return queue_unlock(&queue, index) ? 0 : -EAGAIN;
	if (pop && !move_tail(&queue))
		return -EAGAIN;
	queue_unlock(&queue, queue.head);
	return 0;
}

int queue_take(unsigned char *base, const struct region_map *map, void *ret_value, bool pop,
	       uint32_t slot)
{
	int r = -EAGAIN;

	for (int i = 0; i < TRIES && r == -EAGAIN; i++)
		r = take_once(base, map, ret_value, pop, slot);
	if (r == 0)
		return 0;
	/* The program may read it all the same. */
	rt_zero(ret_value, map->value_size);
	return r == -EAGAIN ? -EBUSY : r;
}
