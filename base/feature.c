/* SPDX-License-Identifier: MIT */
/*
 * One probe per feature and a cache.
 */
#include "base/feature.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

static bool probe_pidfd_thread(void)
{
	cleanup_fd int fd = sys_pidfd_open(gettid(), PIDFD_THREAD);

	return fd >= 0;
}

static bool probe_ns_get_pid(void)
{
	cleanup_fd int fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	/* A kernel that knows the request finds our own pid, or says that there is none. */
	return fd >= 0 && (ioctl(fd, NS_GET_PID_FROM_PIDNS, getpid()) >= 0 || errno == ESRCH);
}

static bool probe_procmap_query(void)
{
	cleanup_fd int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	struct procmap_query_abi query = {.size = sizeof(query), .query_addr = (uintptr_t)&query};

	return fd >= 0 && ioctl(fd, PROCMAP_QUERY_ABI, &query) == 0;
}

/* Flags are judged before the filter is read: with a flag the kernel knows, it is the missing
 * filter that it complains about. */
static bool probe_wait_killable(void)
{
	return sys_seccomp(SECCOMP_SET_MODE_FILTER,
			   SECCOMP_FILTER_FLAG_NEW_LISTENER |
				   SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
			   NULL) == -EFAULT;
}

static const struct {
	const char *name;
	bool (*probe)(void);
} features[FEATURE_COUNT] = {
	[FEATURE_PIDFD_THREAD] = {"pidfd_thread", probe_pidfd_thread},
	[FEATURE_NS_GET_PID] = {"ns_get_pid", probe_ns_get_pid},
	[FEATURE_PROCMAP_QUERY] = {"procmap_query", probe_procmap_query},
	[FEATURE_WAIT_KILLABLE] = {"wait_killable", probe_wait_killable},
};

/* 0 not asked yet, 1 there, 2 missing. */
static atomic_int known[FEATURE_COUNT];

bool feature_has(enum feature feature)
{
	int answer = atomic_load(&known[feature]), expected = 0;

	if (!answer) {
		answer = features[feature].probe() ? 1 : 2;
		/* A denial that came meanwhile stays. */
		if (!atomic_compare_exchange_strong(&known[feature], &expected, answer))
			answer = expected;
	}
	return answer == 1;
}

const char *feature_name(enum feature feature)
{
	return features[feature].name;
}

void feature_deny(enum feature feature)
{
	atomic_store(&known[feature], 2);
}
