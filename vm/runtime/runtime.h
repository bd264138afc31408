/* SPDX-License-Identifier: MIT */
/*
 * Helpers and map operations: freestanding, no libc, no writable globals, general registers only.
 * The same source is linked into the region's text, the daemon (map commands of tools) and tests.
 *
 * @base is the region's address in the process that runs: in a target the runtime finds its own by
 * a RIP-relative symbol, the daemon passes that of its mapping. Map memory is hostile
 * (shim/region.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/region.h"

/**
 * struct rt_run - one run of one program; on the stack of rt_hit(), handed to every helper
 * @slot: CPU slot owned
 * @counter: of the attachment
 * @tail_calls: made since its program was entered; compiled code counts them
 * @test_run: it was asked for (struct region_test_run): the context is no struct pt_regs, one lies
 *	in front of it
 * @turns: of its loops, see turns.h; @until: when it has taken too long, once @turns are many
 */
struct rt_run {
	unsigned char *base;
	uint32_t slot, counter;
	uint32_t tail_calls, test_run, turns;
	uint64_t cookie;
	uint64_t stack; /* target's stack pointer at the site: memory from here to the next
			   beginning of a page is mapped; 0: there is no target, and nothing to
			   read */
	uint64_t stub;	/* address of the struct region_stub that led here, 0: none */
	uint64_t until;
	uint64_t signals; /* to be sent when it is over: bit N is signal N, to the thread in the
			     upper half */
};
#define RT_SIGNALS_THREAD 32u /* how far up */

/* Helpers, by BPF_FUNC_* number: uint64_t rt_<name>(r1, r2, r3, r4, r5, run). See helpers.h. */

/** rt_map_layout() - fill @map's strides, buckets, slots and data_size from its attributes
 *  Return: 0, -EINVAL or -E2BIG for shapes the kernel refuses, -EOPNOTSUPP for types not covered */
int rt_map_layout(struct region_map *map, uint32_t slots);
/** rt_map_init() - make freshly zeroed memory an empty map */
void rt_map_init(unsigned char *base, const struct region_map *map);

/*
 * Map operations. Keys and values are ordinary memory. Errors are the kernel's: -ENOENT, -EEXIST,
 * -E2BIG, -EINVAL, -EBUSY when a lock could not be had in bounded time.
 */
/* As @slot of whoever owns none: the daemon. Values are then all slots' values. */
#define RT_ALL_SLOTS UINT32_MAX

/** rt_map_lookup() - address of the value; per-CPU types: of slot @slot's value. NULL: none. */
void *rt_map_lookup(unsigned char *base, const struct region_map *map, const void *key,
		    uint32_t slot);
int rt_map_update(unsigned char *base, const struct region_map *map, const void *key,
		  const void *value, uint64_t flags, uint32_t slot);
int rt_map_delete(unsigned char *base, const struct region_map *map, const void *key,
		  uint32_t slot);
/** rt_map_next_key() - @key NULL or unknown: the first one. -ENOENT behind the last. */
int rt_map_next_key(unsigned char *base, const struct region_map *map, const void *key,
		    void *ret_key);

/* Maps without keys. @flags: 0, or BPF_EXIST: the oldest value makes room in a full one. A peek
 * into a bloom filter reads @ret_value and says whether it has been pushed. */
int rt_map_push(unsigned char *base, const struct region_map *map, const void *value,
		uint64_t flags, uint32_t slot);
int rt_map_pop(unsigned char *base, const struct region_map *map, void *ret_value, uint32_t slot);
int rt_map_peek(unsigned char *base, const struct region_map *map, void *ret_value, uint32_t slot);

/**
 * rt_ring_read() - take one event out of slot @slot's ring; for the only consumer, the daemon
 * @ret_event: @size is at most REGION_EVENT_MAX
 * @ret_data: room for REGION_EVENT_MAX bytes
 *
 * Return: 1, or 0 if there is none. A ring that holds nonsense is emptied. As the ring is hostile,
 * it may have events for ever: the caller bounds how many it takes in a row.
 */
int rt_ring_read(unsigned char *base, uint32_t slot, struct region_event *ret_event,
		 void *ret_data);

/*
 * The same in steps: an event that cannot go on yet stays where it is. The last two are for
 * what rt_ring_peek() gave, once. Return: as rt_ring_read().
 */
int rt_ring_peek(unsigned char *base, uint32_t slot, struct region_event *ret_event);
void rt_ring_data(unsigned char *base, uint32_t slot, const struct region_event *event,
		  void *ret_data);
void rt_ring_skip(unsigned char *base, uint32_t slot, const struct region_event *event);

/*
 * The same as the tool's commands see them: per-CPU values are all slots' values, each rounded up
 * to 8 bytes (kernel/bpf/syscall.c bpf_map_value_size(), Linux 6.18); maps without keys are peeked
 * into and pushed to.
 */
int rt_map_read(unsigned char *base, const struct region_map *map, const void *key,
		void *ret_value);
int rt_map_write(unsigned char *base, const struct region_map *map, const void *key,
		 const void *value, uint64_t flags);
/** rt_map_take() - take an element out of a hash, with all that was added to its value up to then
 *  Return: 0, -ENOENT, -EBUSY, -EOPNOTSUPP: no hash */
int rt_map_take(unsigned char *base, const struct region_map *map, const void *key,
		void *ret_value);
/**
 * rt_map_bucket() - all elements of one bucket of a hash, which are at most RT_BUCKET_MAX
 * @take: and remove them, as rt_map_take() does
 * @room: how many @ret_keys and @ret_values have room for
 * @ret_cnt: how many there are
 *
 * Return: 0, -ENOSPC: more than @room, and nothing was done; -ENOENT: there are less buckets;
 * -EBUSY, -EOPNOTSUPP: no hash
 */
#define RT_BUCKET_MAX 256u
int rt_map_bucket(unsigned char *base, const struct region_map *map, uint32_t bucket, bool take,
		  uint32_t room, void *ret_keys, void *ret_values, uint32_t *ret_cnt);
