/* SPDX-License-Identifier: MIT */
/*
 * What the running kernel has. Each feature is found by trying it once, never by a version number,
 * and remembered; who uses one has another way for a kernel without it.
 */
#pragma once

#include <stdbool.h>

enum feature {
	FEATURE_PIDFD_THREAD,  /* a pidfd that stands for one thread: Linux 6.9 */
	FEATURE_NS_GET_PID,    /* pid of a namespace to ours by ioctl: Linux 6.11 */
	FEATURE_PROCMAP_QUERY, /* one mapping of a process by ioctl: Linux 6.11 */
	FEATURE_WAIT_KILLABLE, /* notified calls are not woken by every signal: Linux 5.19 */
	FEATURE_COUNT,
};

/** feature_has() - whether this kernel has it; any thread may ask, the first to ask tries */
bool feature_has(enum feature feature);

/** feature_name() - for logs: "pidfd_thread" */
const char *feature_name(enum feature feature);

/** feature_deny() - from now on the kernel is taken to lack it: for tests of the other ways */
void feature_deny(enum feature feature);
