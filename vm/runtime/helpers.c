/* SPDX-License-Identifier: MIT */
/*
 * Helpers that answer from the map, the run or one system call. Reads of the target's memory are in
 * read.c, events in output.c. Values are those the kernel's helper of the same name returns.
 */
#include "vm/runtime/helpers.h"

#include <linux/errno.h>
#include <sys/syscall.h>

#include "vm/runtime/local.h"

#define CLOCK_MONO    1
#define CLOCK_BOOT    7
#define PR_GET_NAME_  16
#define TASK_COMM_LEN 16u

#define HELPER(name)                                                                               \
	uint64_t rt_##name(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,        \
			   struct rt_run *run)

HELPER(map_lookup_elem)
{
	return (uint64_t)rt_map_lookup(run->base, (const void *)r1, (const void *)r2, run->slot);
}

HELPER(map_update_elem)
{
	return (uint64_t)(int64_t)rt_map_update(run->base, (const void *)r1, (const void *)r2,
						(const void *)r3, r4, run->slot);
}

HELPER(map_delete_elem)
{
	return (uint64_t)(int64_t)rt_map_delete(run->base, (const void *)r1, (const void *)r2,
						run->slot);
}

static uint64_t clock_ns(struct rt_run *run, long clock)
{
	long (*vdso)(long, long *) = (long (*)(long, long *))rt_config(run->base)->clock_gettime;
	long time[2] = {0, 0};

	if (!vdso || vdso(clock, time) != 0)
		rt_syscall(SYS_clock_gettime, clock, (long)time, 0, 0, 0, 0);
	return (uint64_t)time[0] * 1000000000 + (uint64_t)time[1];
}

HELPER(ktime_get_ns)
{
	return clock_ns(run, CLOCK_MONO);
}

HELPER(ktime_get_boot_ns)
{
	return clock_ns(run, CLOCK_BOOT);
}

HELPER(get_prandom_u32)
{
	/* A generator per slot: its owner is alone with it. splitmix64. */
	uint64_t *state = &rt_shared(run->base)->slots[run->slot].random, x;

	if (!*state)
		*state = clock_ns(run, CLOCK_MONO) ^ (uint64_t)state;
	x = *state += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)(x >> 32);
}

/* The slot is the CPU as far as a program can tell: per-CPU values are its own alone. */
HELPER(get_smp_processor_id)
{
	return run->slot;
}

HELPER(get_numa_node_id)
{
	unsigned int node = 0;

	rt_syscall(SYS_getcpu, 0, (long)&node, 0, 0, 0, 0);
	return node;
}

/* Asked each time: what a libc remembers is wrong in a child of vfork(). */
HELPER(get_current_pid_tgid)
{
	uint64_t pid = (uint32_t)rt_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);

	return pid << 32 | (uint32_t)rt_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

HELPER(get_current_uid_gid)
{
	uint64_t gid = (uint32_t)rt_syscall(SYS_getgid, 0, 0, 0, 0, 0, 0);

	return gid << 32 | (uint32_t)rt_syscall(SYS_getuid, 0, 0, 0, 0, 0, 0);
}

HELPER(get_current_comm)
{
	char comm[TASK_COMM_LEN] = "", *to = (char *)r1;
	uint32_t size = (uint32_t)r2, len = 0;

	rt_syscall(SYS_prctl, PR_GET_NAME_, (long)comm, 0, 0, 0, 0);
	/* strscpy_pad(): at most size - 1 bytes, zeros to the end. */
	for (; len + 1 < size && len + 1 < TASK_COMM_LEN && comm[len]; len++)
		to[len] = comm[len];
	rt_zero(to + len, size - len);
	return 0;
}

HELPER(get_current_cgroup_id)
{
	return rt_config(run->base)->cgroup_id;
}

HELPER(get_attach_cookie)
{
	return run->cookie;
}

HELPER(get_func_ip)
{
	return run->ip;
}
