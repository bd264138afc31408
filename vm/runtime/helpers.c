/* SPDX-License-Identifier: MIT */
/*
 * Helpers about maps and the running task.
 */
#include "vm/runtime/helpers.h"

#include <errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#include "vm/runtime/bytes.h"
#include "vm/runtime/slot.h"

#define COMM_LEN    16u
#define PR_GET_NAME 16

/* A change of a map that could not be made, because others had its lock all the time, is a hit that
 * was missed as far as the tool can see. */
static uint64_t changed(const struct rt_run *run, int result)
{
	if (rt_unlikely(result == -EBUSY))
		__atomic_fetch_add(&region_counter(run->base, 0, run->counter)->missed, 1,
				   __ATOMIC_RELAXED);
	return (uint64_t)(int64_t)result;
}

uint64_t rt_map_lookup_elem(RT_HELPER_ARGS)
{
	return (uint64_t)rt_map_lookup(run->base, (const void *)r1, (const void *)r2, run->slot);
}

/* r3: whose value; any of the possible processors'. */
uint64_t rt_map_lookup_percpu_elem(RT_HELPER_ARGS)
{
	const struct region_map *map = (const void *)r1;

	if (r3 >= map->slots)
		return 0;
	return (uint64_t)rt_map_lookup(run->base, map, (const void *)r2, (uint32_t)r3);
}

uint64_t rt_map_update_elem(RT_HELPER_ARGS)
{
	return changed(run, rt_map_update(run->base, (const void *)r1, (const void *)r2,
					  (const void *)r3, r4, run->slot));
}

uint64_t rt_map_delete_elem(RT_HELPER_ARGS)
{
	return changed(run,
		       rt_map_delete(run->base, (const void *)r1, (const void *)r2, run->slot));
}

uint64_t rt_map_push_elem(RT_HELPER_ARGS)
{
	return (uint64_t)(int64_t)rt_map_push(run->base, (const void *)r1, (const void *)r2, r3,
					      run->slot);
}

uint64_t rt_map_pop_elem(RT_HELPER_ARGS)
{
	return (uint64_t)(int64_t)rt_map_pop(run->base, (const void *)r1, (void *)r2, run->slot);
}

uint64_t rt_map_peek_elem(RT_HELPER_ARGS)
{
	return (uint64_t)(int64_t)rt_map_peek(run->base, (const void *)r1, (void *)r2, run->slot);
}

/* The slot is what per-CPU values are told apart by, so it is the processor a program sees. */
uint64_t rt_get_smp_processor_id(RT_HELPER_ARGS)
{
	return run->slot;
}

uint64_t rt_get_numa_node_id(RT_HELPER_ARGS)
{
	return slot_cpu_value(region_header(run->base)->features) >> SLOT_NODE_SHIFT;
}

/*
 * Asked for each time: whatever a process could remember about itself is wrong in a child that
 * shares its memory (vfork) until it calls exec.
 */
uint64_t rt_get_current_pid_tgid(RT_HELPER_ARGS)
{
	uint64_t tgid = (uint64_t)rt_syscall4(__NR_getpid, 0, 0, 0, 0);

	return tgid << 32 | (uint32_t)rt_syscall4(__NR_gettid, 0, 0, 0, 0);
}

/* This process' pid namespace; asked for once by children of those that were told. */
static void pid_namespace(const struct rt_run *run, uint64_t *ret_dev, uint64_t *ret_ino)
{
	const struct region_config *config = region_config(run->base);
	struct region_cache *cache = region_cache(run->base);
	char path[] = "/proc/self/ns/pid";
	struct statx stat;

	*ret_dev = rt_load(&cache->pid_ns_dev);
	*ret_ino = rt_load(&cache->pid_ns_ino);
	if (*ret_ino)
		return;
	*ret_dev = rt_load(&config->pid_ns_dev);
	*ret_ino = rt_load(&config->pid_ns_ino);
	if (*ret_ino && rt_load(&cache->injected))
		return;
	/* Without /proc: what the parent had, in all likelihood. */
	if (rt_syscall6(__NR_statx, AT_FDCWD, (long)path, 0, STATX_INO, (long)&stat, 0) < 0)
		return;
	*ret_dev = (uint64_t)stat.stx_dev_major << 20 | stat.stx_dev_minor;
	*ret_ino = stat.stx_ino;
	rt_store(&cache->pid_ns_dev, *ret_dev);
	rt_store(&cache->pid_ns_ino, *ret_ino);
}

/* r1, r2 device and inode of a pid namespace, r3, r4 where the numbers go: pid, tgid. */
uint64_t rt_get_ns_current_pid_tgid(RT_HELPER_ARGS)
{
	const uint32_t size = (uint32_t)r4;
	uint64_t dev, ino;
	uint32_t *ids = (void *)r3;

	pid_namespace(run, &dev, &ino);
	if (size != 2 * sizeof(*ids) || r1 != dev || r2 != ino || !ino) {
		rt_zero(ids, size);
		return (uint64_t)-EINVAL;
	}
	rt_store(&ids[0], (uint32_t)rt_syscall4(__NR_gettid, 0, 0, 0, 0));
	rt_store(&ids[1], (uint32_t)rt_syscall4(__NR_getpid, 0, 0, 0, 0));
	return 0;
}

uint64_t rt_get_current_uid_gid(RT_HELPER_ARGS)
{
	uint64_t gid = (uint64_t)rt_syscall4(__NR_getgid, 0, 0, 0, 0);

	return gid << 32 | (uint32_t)rt_syscall4(__NR_getuid, 0, 0, 0, 0);
}

/* Filled up with zeroes; cut so that the last byte is one. */
uint64_t rt_get_current_comm(RT_HELPER_ARGS)
{
	unsigned char comm[COMM_LEN] = {0};
	unsigned char *to = (void *)r1;
	uint32_t size = (uint32_t)r2;
	uint32_t len = size < COMM_LEN ? size : COMM_LEN;

	if (!size)
		return 0;
	rt_syscall4(__NR_prctl, PR_GET_NAME, (long)comm, 0, 0);
	comm[len - 1] = 0;
	rt_copy(to, comm, len);
	rt_zero(to + len, size - len);
	return 0;
}

uint64_t rt_get_current_cgroup_id(RT_HELPER_ARGS)
{
	return rt_load(&region_config(run->base)->cgroup_id);
}

uint64_t rt_get_attach_cookie(RT_HELPER_ARGS)
{
	return run->cookie;
}

uint64_t rt_get_func_ip(RT_HELPER_ARGS)
{
	return run->stub ? ((const struct region_stub *)run->stub)->ip : 0;
}

/* Nobody's secret, but never the same twice in a row: time, and a count of this process. */
uint64_t rt_get_prandom_u32(RT_HELPER_ARGS)
{
	struct region_cache *cache = region_cache(run->base);
	uint64_t count = rt_load(&cache->randoms) + 1;
	uint64_t mixed;

	rt_store(&cache->randoms, count);
	mixed = rt_mix(__builtin_ia32_rdtsc() ^ (uint64_t)run->slot << 56,
		       0x9e3779b97f4a7c15ull + (count << 1));
	return (uint32_t)(rt_mix(mixed ^ count, 0xd1342543de82ef95ull) >> 16);
}
