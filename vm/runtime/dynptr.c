/* SPDX-License-Identifier: MIT */
/*
 * Dynptrs: memory whose size is looked at when the program runs. That a program hands over dynptrs
 * alone, and uses no memory of one that is gone, the verifier has seen to.
 */
#include "vm/runtime/dynptr.h"

#include <errno.h>

#include "vm/runtime/bytes.h"
#include "vm/runtime/helpers.h"

#define LENGTH_MAX ((1u << 24) - 1) /* DYNPTR_MAX_SIZE, include/linux/bpf.h, Linux 6.12 */

static void set(uint64_t dynptr, uint64_t data, uint32_t size)
{
	struct rt_dynptr *at = (void *)dynptr;

	rt_store(&at->data, data);
	rt_store(&at->size, size);
	rt_store(&at->pad, 0);
}

static uint64_t fail(uint64_t dynptr, int error)
{
	set(dynptr, 0, 0);
	return (uint64_t)(int64_t)error;
}

/* Address of @len bytes at @off, or 0 with the reason in @ret_error. */
static uint64_t bytes_at(uint64_t dynptr, uint32_t off, uint32_t len, int *ret_error)
{
	const struct rt_dynptr *at = (const void *)dynptr;
	const uint64_t data = rt_load(&at->data);
	const uint32_t size = rt_load(&at->size);

	*ret_error = -EINVAL;
	if (!data)
		return 0;
	*ret_error = -E2BIG;
	return len > size || off > size - len ? 0 : data + off;
}

/* Either may be a part of the other. */
static void move(uint64_t to, uint64_t from, uint32_t len)
{
	unsigned char *dst = (void *)to;
	const unsigned char *src = (const void *)from;

	if (to - from >= len) {
		rt_copy(dst, src, len);
		return;
	}
	for (; len % 8; len--)
		*(volatile unsigned char *)(dst + len - 1) = rt_get8(src + len - 1);
	for (; len; len -= 8)
		rt_put64(dst + len - 8, rt_get64(src + len - 8));
}

/* r1 memory, r2 size, r3 flags, r4 dynptr */
uint64_t rt_dynptr_from_mem(RT_HELPER_ARGS)
{
	if ((uint32_t)r2 > LENGTH_MAX)
		return fail(r4, -E2BIG);
	if (r3)
		return fail(r4, -EINVAL);
	set(r4, r1, (uint32_t)r2);
	return 0;
}

/* r1 map, r2 size, r3 flags, r4 dynptr */
uint64_t rt_ringbuf_reserve_dynptr(RT_HELPER_ARGS)
{
	const uint32_t size = (uint32_t)r2;
	uint64_t record;

	if (r3)
		return fail(r4, -EINVAL);
	if (size > LENGTH_MAX)
		return fail(r4, -E2BIG);
	record = rt_ringbuf_reserve(r1, size, 0, 0, 0, run);
	if (!record)
		return fail(r4, -EINVAL);
	set(r4, record, size);
	return 0;
}

/* r1 dynptr, r2 flags. One without memory was made when there was no room. */
uint64_t rt_ringbuf_submit_dynptr(RT_HELPER_ARGS)
{
	const uint64_t record = rt_load(&((struct rt_dynptr *)r1)->data);

	if (!record)
		return 0;
	rt_ringbuf_submit(record, r2, 0, 0, 0, run);
	set(r1, 0, 0);
	return 0;
}

uint64_t rt_ringbuf_discard_dynptr(RT_HELPER_ARGS)
{
	const uint64_t record = rt_load(&((struct rt_dynptr *)r1)->data);

	if (!record)
		return 0;
	rt_ringbuf_discard(record, r2, 0, 0, 0, run);
	set(r1, 0, 0);
	return 0;
}

/* r1 where to, r2 size, r3 dynptr, r4 offset, r5 flags */
uint64_t rt_dynptr_read(RT_HELPER_ARGS)
{
	uint64_t from;
	int error;

	if (r5)
		return (uint64_t)-EINVAL;
	from = bytes_at(r3, (uint32_t)r4, (uint32_t)r2, &error);
	if (!from)
		return (uint64_t)(int64_t)error;
	move(r1, from, (uint32_t)r2);
	return 0;
}

/* r1 dynptr, r2 offset, r3 what, r4 size, r5 flags. The flags are looked at last. */
uint64_t rt_dynptr_write(RT_HELPER_ARGS)
{
	int error;
	uint64_t to = bytes_at(r1, (uint32_t)r2, (uint32_t)r4, &error);

	if (!to)
		return (uint64_t)(int64_t)error;
	if (r5)
		return (uint64_t)-EINVAL;
	move(to, r3, (uint32_t)r4);
	return 0;
}

/* r1 dynptr, r2 offset, r3 size */
uint64_t rt_dynptr_data(RT_HELPER_ARGS)
{
	int error;

	return bytes_at(r1, (uint32_t)r2, (uint32_t)r3, &error);
}
