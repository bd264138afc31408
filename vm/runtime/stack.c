/* SPDX-License-Identifier: MIT */
/*
 * STACK_TRACE maps, bpf_get_stackid() and bpf_get_stack(): the calls that led to a probe, by frame
 * pointers, as the kernel finds them (perf_callchain_user(), arch/x86/events/core.c, Linux 6.18).
 *
 * A map's memory is a bit for each bucket, so that empty ones are passed over without being
 * touched, then the buckets: a head and the addresses. What a bucket gets is decided by one
 * exchange of its head. Whoever finds the head that he wanted to put there writes the addresses as
 * well: they are the same. So nobody ever waits, and a process that dies in between leaves a trace
 * that the next one completes. Whoever lost the bucket while he wrote may have spoilt the trace of
 * another: readers compare with the hash, and one that does not match is none.
 */
#include <asm/ptrace.h>
#include <errno.h>

#include "vm/runtime/helpers.h"
#include "vm/runtime/map.h"
#include "vm/runtime/read.h"
#include "vm/runtime/shadow.h"

#define DEPTH_MAX 127u /* sysctl kernel.perf_event_max_stack */
#define WINDOW	  512u /* bytes of stack read at a time */

#define SKIP_MASK      0xffull	   /* BPF_F_SKIP_FIELD_MASK */
#define USER_STACK     (1ull << 8) /* BPF_F_* */
#define FAST_STACK_CMP (1ull << 9)
#define REUSE_STACKID  (1ull << 10)
#define FLAGS	       (SKIP_MASK | USER_STACK | FAST_STACK_CMP | REUSE_STACKID)

/* Of a bucket: hash << 32 | number of addresses << 8 | these. 0: empty. */
#define HEAD_USED  1ull
#define HEAD_READY 2ull

#define PUSH_RBP 0x55
#define ENDBR64	 0xfa1e0ff3u
#define USER_MAX 0x7ffffffff000ull

/**
 * struct scratch - in the slot's scratch memory: the target's stack may be a small one. Others may
 * change it, and the trace with it
 * @ips: addresses, the innermost first
 * @window: part of the stack that was copied
 */
struct scratch {
	uint64_t ips[DEPTH_MAX];
	unsigned char window[WINDOW];
};
static_assert(sizeof(struct scratch) <= REGION_SCRATCH_SIZE, "scratch");

struct trace {
	struct scratch *scratch;
	uint32_t cnt, max;
	uint64_t window; /* address of what is in the window, and how much of it */
	long window_len;
};

int stack_layout(struct region_map *map, uint64_t *ret_size)
{
	uint64_t buckets = 1;

	/* stack_map_alloc(), kernel/bpf/stackmap.c */
	if (map->key_size != sizeof(uint32_t) || map->value_size < 8 || map->value_size % 8 ||
	    map->value_size / 8 > DEPTH_MAX)
		return -EINVAL;
	if (map->max_entries > 1u << 31)
		return -E2BIG;
	while (buckets < map->max_entries)
		buckets *= 2;
	map->buckets = (uint32_t)buckets;
	map->elem_stride = (uint32_t)sizeof(uint64_t) + map->value_size;
	*ret_size = (buckets + 63) / 64 * 8 + buckets * map->elem_stride;
	return 0;
}

static uint64_t *bits_of(unsigned char *base, const struct region_map *map)
{
	return (uint64_t *)(base + map->data);
}

static uint64_t *bucket_at(unsigned char *base, const struct region_map *map, uint32_t id)
{
	uint64_t bits = (map->buckets + 63ull) / 64 * 8;

	return (uint64_t *)(base + map->data + bits + (uint64_t)id * map->elem_stride);
}

static bool is_used(unsigned char *base, const struct region_map *map, uint32_t id)
{
	return rt_load(&bits_of(base, map)[id / 64]) >> (id % 64) & 1;
}

static uint32_t hash_of(const uint64_t *ips, uint32_t cnt)
{
	uint64_t hash = cnt;

	for (uint32_t i = 0; i < cnt; i++)
		hash = rt_mix(hash ^ rt_load(&ips[i]), 0x9e3779b97f4a7c15ull);
	return (uint32_t)(hash >> 32 ^ hash);
}

int stack_read(unsigned char *base, const struct region_map *map, const void *key, void *ret_value)
{
	uint32_t id = rt_get32(key), cnt;
	uint64_t *bucket, head;

	if (id >= map->buckets || !is_used(base, map, id))
		return -ENOENT;
	bucket = bucket_at(base, map, id);
	head = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
	if (!(head & HEAD_READY))
		return -ENOENT;
	cnt = (uint32_t)(head >> 8) & 0xffffff;
	if (cnt > map->value_size / 8)
		return -ENOENT;
	rt_zero(ret_value, map->value_size);
	rt_copy(ret_value, bucket + 1, cnt * 8ull);
	return hash_of(ret_value, cnt) == head >> 32 ? 0 : -ENOENT;
}

int stack_delete(unsigned char *base, const struct region_map *map, const void *key)
{
	uint32_t id = rt_get32(key);

	if (id >= map->buckets)
		return -E2BIG;
	if (!is_used(base, map, id))
		return -ENOENT;
	__atomic_fetch_and(&bits_of(base, map)[id / 64], ~(1ull << (id % 64)), __ATOMIC_RELAXED);
	return __atomic_exchange_n(bucket_at(base, map, id), 0, __ATOMIC_ACQ_REL) ? 0 : -ENOENT;
}

int stack_next_key(unsigned char *base, const struct region_map *map, const void *key,
		   void *ret_key)
{
	uint32_t id = key ? rt_get32(key) : 0;

	if (key && id < map->buckets && is_used(base, map, id))
		id++;
	else
		id = 0;
	while (id < map->buckets && !is_used(base, map, id)) {
		/* Whole words of empty ones at a time. */
		if (id % 64 == 0 && !rt_load(&bits_of(base, map)[id / 64]))
			id += 64;
		else
			id++;
	}
	if (id >= map->buckets)
		return -ENOENT;
	rt_copy(ret_key, &id, sizeof(id));
	return 0;
}

/* @size bytes (at most 16) at @address, or false. */
static bool read_stack(const struct rt_run *run, struct trace *trace, uint64_t address, void *dst,
		       uint32_t size)
{
	uint64_t at = address - trace->window;

	if (address >= USER_MAX)
		return false;
	if (rt_mapped_from(run, address) >= size) {
		rt_copy(dst, (const void *)address, size);
		return true;
	}
	if (address < trace->window || at > WINDOW || (long)(at + size) > trace->window_len) {
		trace->window = address;
		trace->window_len =
			run->stack ? rt_vm_read(trace->scratch->window, address, WINDOW) : -EFAULT;
		at = 0;
	}
	if (trace->window_len < (long)size)
		return false;
	rt_copy(dst, trace->scratch->window + at, size);
	return true;
}

/* A function that is probed at its return has the trampoline there; its caller is meant. */
static void add(const struct rt_run *run, struct trace *trace, uint64_t ip, uint64_t slot)
{
	const uint64_t trampoline = (uint64_t)run->base + region_header(run->base)->ret;
	uint64_t real = ip == trampoline ? shadow_peek(run->base, slot, trampoline) : 0;

	if (trace->cnt < trace->max)
		rt_store(&trace->scratch->ips[trace->cnt++], real ? real : ip);
}

/*
 * Whether a function is just being entered: rbp is its caller's still, and the return address is on
 * top of the stack. The kernel looks at the probed instruction (is_uprobe_at_func_entry()).
 */
static bool at_entry(const struct rt_run *run, const struct pt_regs *regs)
{
	const struct region_stub *stub = (const void *)run->stub;
	const unsigned char *insn;

	if (!stub || regs->rip != stub->ip)
		return false;
	insn = stub->code + REGION_STUB_DISPLACED;
	return insn[0] == PUSH_RBP || rt_get32(insn) == ENDBR64;
}

static void walk(const struct rt_run *run, const struct pt_regs *regs, struct trace *trace)
{
	uint64_t frame = regs->rbp, words[2];

	add(run, trace, regs->rip, 0);
	if (at_entry(run, regs) && read_stack(run, trace, regs->rsp, words, 8))
		add(run, trace, words[0], regs->rsp);
	while (trace->cnt < trace->max && read_stack(run, trace, frame, words, 16)) {
		add(run, trace, words[1], frame + 8);
		frame = words[0];
	}
}

static bool same(const uint64_t *stored, const uint64_t *ips, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		if (rt_load(&stored[i]) != rt_load(&ips[i]))
			return false;
	return true;
}

static int64_t store(unsigned char *base, const struct region_map *map, const uint64_t *ips,
		     uint32_t cnt, uint64_t flags)
{
	const uint32_t hash = hash_of(ips, cnt), id = hash & (map->buckets - 1);
	const uint64_t wanted = (uint64_t)hash << 32 | (uint64_t)cnt << 8 | HEAD_USED;
	uint64_t *bucket = bucket_at(base, map, id);
	uint64_t head = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);

	if (head == (wanted | HEAD_READY) &&
	    ((flags & FAST_STACK_CMP) || same(bucket + 1, ips, cnt)))
		return id;
	if (head && (head | HEAD_READY) != (wanted | HEAD_READY) && !(flags & REUSE_STACKID))
		return -EEXIST;
	if (head == (wanted | HEAD_READY) && !(flags & REUSE_STACKID))
		return -EEXIST;
	if (head != wanted &&
	    !__atomic_compare_exchange_n(bucket, &head, wanted, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE) &&
	    (head | HEAD_READY) != (wanted | HEAD_READY))
		return -EEXIST;
	for (uint32_t i = 0; i < cnt; i++)
		rt_store(&bucket[1 + i], rt_load(&ips[i]));
	__atomic_fetch_or(&bits_of(base, map)[id / 64], 1ull << (id % 64), __ATOMIC_RELAXED);
	/* Unless it was deleted or replaced meanwhile: then the addresses are not these any more.
	 */
	head = wanted;
	__atomic_compare_exchange_n(bucket, &head, wanted | HEAD_READY, false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
	return id;
}

/* The innermost @depth calls, or as many as there are. */
static struct trace trace_of(const struct rt_run *run, uint64_t ctx, uint32_t depth)
{
	struct trace trace = {.scratch =
				      RT_PTR(run->base, REGION_SHARED + REGION_SCRATCH +
								run->slot * REGION_SCRATCH_SIZE)};

	trace.max = depth < DEPTH_MAX ? depth : DEPTH_MAX;
	walk(run, (const struct pt_regs *)ctx - (run->test_run ? 1 : 0), &trace);
	return trace;
}

/* r1 context, r2 map, r3 flags. The kernel's stack is empty: it is in user code that a uprobe is.
 */
uint64_t rt_get_stackid(RT_HELPER_ARGS)
{
	const struct region_map *map = (const void *)r2;
	const uint32_t skip = (uint32_t)(r3 & SKIP_MASK);
	struct trace trace;

	if (r3 & ~FLAGS)
		return (uint64_t)-EINVAL;
	if (!(r3 & USER_STACK))
		return (uint64_t)-EFAULT;
	trace = trace_of(run, r1, map->value_size / 8 + skip);
	if (trace.cnt <= skip)
		return (uint64_t)-EFAULT;
	return (uint64_t)store(run->base, map, trace.scratch->ips + skip, trace.cnt - skip, r3);
}

/* Into @to of @size bytes. Return: bytes, or -errno */
static int64_t get_stack(const struct rt_run *run, uint64_t ctx, uint64_t *to, uint32_t size,
			 uint64_t flags)
{
	const uint32_t skip = (uint32_t)(flags & SKIP_MASK);
	struct trace trace = {.cnt = 0};

	if (flags & ~(SKIP_MASK | USER_STACK) || size % 8)
		return -EINVAL;
	if (flags & USER_STACK)
		trace = trace_of(run, ctx, size / 8 + skip);
	if (trace.cnt < skip)
		return -EFAULT;
	for (uint32_t i = 0; i < trace.cnt - skip; i++)
		rt_put64(&to[i], rt_load(&trace.scratch->ips[skip + i]));
	return (trace.cnt - skip) * 8ll;
}

/* r1 context, r2 and r3 where it goes, r4 flags. What is not filled is zero. */
uint64_t rt_get_stack(RT_HELPER_ARGS)
{
	const uint32_t size = (uint32_t)r3;
	int64_t len = get_stack(run, r1, (void *)r2, size, r4);
	uint32_t done = len < 0 ? 0 : (uint32_t)len;

	rt_zero((unsigned char *)r2 + done, size - done);
	return (uint64_t)len;
}
