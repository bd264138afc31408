/* SPDX-License-Identifier: MIT */
/*
 * See unprivileged.h.
 */
#include "kernel-bridge/unprivileged.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys.h"

static void drop(struct __user_cap_data_struct *caps, unsigned int cap)
{
	caps[CAP_TO_INDEX(cap)].effective &= ~CAP_TO_MASK(cap);
}

int unprivileged_prog_load(struct abi_prog_load *attr, uint32_t size)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct old[_LINUX_CAPABILITY_U32S_3], less[_LINUX_CAPABILITY_U32S_3];
	int fd;

	/* The raw calls are about this thread alone. */
	if (syscall(SYS_capget, &header, old) < 0)
		return -errno;
	less[0] = old[0];
	less[1] = old[1];
	drop(less, CAP_PERFMON);
	drop(less, CAP_SYS_ADMIN);
	if (syscall(SYS_capset, &header, less) < 0)
		return -errno;
	fd = sys_bpf(BPF_PROG_LOAD, attr, size);
	/* What is permitted can be had back. */
	syscall(SYS_capset, &header, old);
	return fd;
}
