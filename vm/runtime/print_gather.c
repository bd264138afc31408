/* SPDX-License-Identifier: MIT */
/*
 * Arguments of formatted text, and the helpers that print. Source: bpf_bprintf_prepare(),
 * kernel/bpf/helpers.c, Linux 6.12.
 */
#include <errno.h>

#include "vm/runtime/bytes.h"
#include "vm/runtime/helpers.h"
#include "vm/runtime/print.h"
#include "vm/runtime/ring.h"

#define TRACE_ARGS   3u	      /* MAX_TRACE_PRINTK_VARARGS */
#define CONSTANT_MAX 0x10000u /* more than a constant string has */
#define RED_ZONE     128u

/** struct gather - @at: bytes of @bin that are in use */
struct gather {
	const struct rt_run *run;
	unsigned char *bin;
	uint32_t at;
};

/*
 * Whether it is memory of the program, which in the kernel is the kernel's: its maps, its stack and
 * what it was given.
 */
static bool is_programs(const struct rt_run *run, uint64_t address)
{
	const uint64_t base = (uint64_t)run->base;

	if (address >= base && address < base + REGION_SIZE)
		return true;
	return run->stack && address < run->stack - RED_ZONE &&
	       address >= (uint64_t)__builtin_frame_address(0);
}

/* Up to the end of the string, or of @size bytes. Return: with its end, or < 0 */
static int64_t read_string(const struct rt_run *run, char kind, unsigned char *to, uint32_t size,
			   uint64_t address)
{
	/* %s reads whatever there is. */
	if (kind && (kind == 'k') != is_programs(run, address))
		return -EFAULT;
	return (int64_t)rt_probe_read_str((uint64_t)to, size, address, 0, 0, (struct rt_run *)run);
}

static int take_string(struct gather *gather, const struct format_item *item, uint64_t value)
{
	int64_t len;

	if (gather->at == PRINT_BIN_MAX)
		return -ENOSPC;
	len = read_string(gather->run, item->pointer, gather->bin + gather->at,
			  PRINT_BIN_MAX - gather->at, value);
	if (len <= 0) {
		*(volatile unsigned char *)&gather->bin[gather->at] = '\0';
		len = 1;
	}
	gather->at += (uint32_t)len;
	return 0;
}

/* What has no room is cut, and nothing has room behind it. */
static void take_text(struct gather *gather, const unsigned char *text, uint32_t len)
{
	const uint32_t room = PRINT_BIN_MAX - gather->at;

	if (!room)
		return;
	rt_copy(gather->bin + gather->at, text, len < room ? len + 1 : room);
	if (len >= room)
		*(volatile unsigned char *)&gather->bin[PRINT_BIN_MAX - 1] = '\0';
	gather->at += len < room ? len + 1 : room;
}

static int take_address(struct gather *gather, const struct format_item *item, uint64_t value)
{
	const uint32_t size = item->version == '4' ? 4 : 16;
	unsigned char address[16], text[PRINT_ADDRESS_MAX];

	if (PRINT_BIN_MAX - gather->at < size)
		return -ENOSPC;
	rt_zero(address, sizeof(address));
	/* On failure they are zeros as well. */
	if (is_programs(gather->run, value))
		rt_probe_read((uint64_t)address, size, value, 0, 0, (struct rt_run *)gather->run);
	take_text(gather, text, print_address(item, address, text));
	return 0;
}

static int take_symbol(struct gather *gather, uint64_t value)
{
	unsigned char text[20];

	take_text(gather, text, print_hex(value, text));
	return 0;
}

static int take_number(struct gather *gather, uint32_t size, uint64_t value)
{
	gather->at = (gather->at + 3) & ~3u;
	if (PRINT_BIN_MAX - gather->at < size)
		return -ENOSPC;
	rt_copy(gather->bin + gather->at, &value, size);
	gather->at += size;
	return 0;
}

static int take_char(struct gather *gather, uint64_t value)
{
	if (gather->at == PRINT_BIN_MAX)
		return -ENOSPC;
	*(volatile unsigned char *)&gather->bin[gather->at++] = (unsigned char)value;
	return 0;
}

static int take(struct gather *gather, const struct format_item *item, uint64_t value)
{
	switch (item->kind) {
	case FORMAT_CHAR:
		return take_char(gather, value);
	case FORMAT_STRING:
		return take_string(gather, item, value);
	case FORMAT_NUMBER:
		return take_number(gather, item->size, value);
	default:
		break;
	}
	switch (item->pointer) {
	case 'k':
	case 'u':
		return take_string(gather, item, value);
	case 'i':
	case 'I':
		return take_address(gather, item, value);
	case 'B':
		return take_symbol(gather, value);
	default:
		return take_number(gather, 8, value);
	}
}

static bool has_end(const char *fmt, uint32_t max)
{
	uint32_t at = 0;

	while (at < max && format_byte(fmt, at, max))
		at++;
	return at < max;
}

int print_gather(const struct rt_run *run, const char *fmt, uint32_t max, const uint64_t *raw,
		 uint32_t cnt, unsigned char *bin)
{
	struct gather gather = {.run = run, .bin = bin};
	uint32_t taken = 0;
	uint64_t at = 0;

	if (!has_end(fmt, max))
		return -EINVAL;
	for (;;) {
		struct format_item item = format_next(fmt, at, max);
		int r = 0;

		if (item.kind == FORMAT_END)
			return 0;
		if (format_takes(&item))
			r = taken < cnt ? take(&gather, &item, rt_get64(&raw[taken])) : -EINVAL;
		else if (item.kind == FORMAT_BAD)
			r = -EINVAL;
		if (r < 0)
			return r;
		taken += format_takes(&item);
		at += item.len;
	}
}

/** struct scratch - in the slot's scratch memory: the target's stack may be a small one */
struct scratch {
	unsigned char bin[PRINT_BIN_MAX];
	struct region_text head;
	unsigned char text[PRINT_TEXT_MAX];
};
static_assert(sizeof(struct scratch) <= REGION_SCRATCH_SIZE, "scratch");

static struct scratch *scratch_of(const struct rt_run *run)
{
	return RT_PTR(run->base, REGION_SHARED + REGION_SCRATCH + run->slot * REGION_SCRATCH_SIZE);
}

static bool good_args(uint64_t args, uint64_t len)
{
	return len % 8 == 0 && len <= FORMAT_ARGS_MAX * 8 && (!len || args);
}

/* r1, r2 where the text goes, r3 format, a constant string, r4, r5 arguments and their bytes. */
uint64_t rt_snprintf(RT_HELPER_ARGS)
{
	struct scratch *scratch = scratch_of(run);
	const char *fmt = (const void *)r3;
	int r;

	if (!good_args(r4, r5))
		return (uint64_t)-EINVAL;
	r = print_gather(run, fmt, CONSTANT_MAX, (const void *)r4, (uint32_t)r5 / 8, scratch->bin);
	if (r < 0)
		return (uint64_t)r;
	r = print_text(fmt, CONSTANT_MAX, scratch->bin, (void *)r1, (uint32_t)r2);
	return (uint64_t)(int64_t)(r + 1);
}

/* A line for the daemon: the kernel's pipe is for all of the host. */
static void deliver(struct rt_run *run, struct scratch *scratch, uint32_t len)
{
	const struct region_event event = {.size = (uint32_t)sizeof(scratch->head) + len,
					   .map = REGION_EVENT_TEXT,
					   .flags = (uint64_t)rt_syscall4(__NR_gettid, 0, 0, 0, 0)};

	if (run->slot >= REGION_RINGS_MAX)
		return;
	scratch->head.time_ns = rt_ktime_get_ns(0, 0, 0, 0, 0, run);
	rt_get_current_comm((uint64_t)scratch->head.comm, sizeof(scratch->head.comm), 0, 0, 0, run);
	ring_write(run->base, run->slot, &event, &scratch->head);
}

static uint64_t trace(struct rt_run *run, const char *fmt, uint32_t max, const uint64_t *raw,
		      uint32_t cnt)
{
	struct scratch *scratch = scratch_of(run);
	int r = print_gather(run, fmt, max, raw, cnt, scratch->bin);

	if (r < 0)
		return (uint64_t)r;
	r = print_text(fmt, max, scratch->bin, scratch->text, PRINT_TEXT_MAX);
	deliver(run, scratch, r < (int)PRINT_TEXT_MAX ? (uint32_t)r : PRINT_TEXT_MAX - 1);
	return (uint64_t)(int64_t)r;
}

/* r1, r2 format and its size, r3 to r5 arguments. */
uint64_t rt_trace_printk(RT_HELPER_ARGS)
{
	const uint64_t raw[TRACE_ARGS] = {r3, r4, r5};

	return trace(run, (const void *)r1, (uint32_t)r2, raw, TRACE_ARGS);
}

/* r1, r2 format and its size, r3, r4 arguments and their bytes. */
uint64_t rt_trace_vprintk(RT_HELPER_ARGS)
{
	if (!good_args(r3, r4))
		return (uint64_t)-EINVAL;
	return trace(run, (const void *)r1, (uint32_t)r2, (const void *)r3, (uint32_t)r4 / 8);
}
