/* SPDX-License-Identifier: MIT */
/*
 * The worker's sandbox, in layers that each hold without the others:
 *
 *	1. namespaces	nothing to talk to: no network, no IPC, no host name, an empty root
 *	2. identity	nobody's: no capability that could undo the rest
 *	3. limits	memory, descriptors, processes, files, core dumps
 *	4. seccomp	memory, one socket, exit; anything else kills
 *
 * The order is given: each step needs rights that a later one takes away. A pid namespace is not
 * among them: a process cannot enter one, it has to be born there (worker_process.c).
 */
#include "verifier/worker_sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define NOBODY	     65534
#define MEMORY_MAX   (1ull << 30)
#define CAP_LAST_TRY 63 /* more than any kernel has */

/*
 * A tmpfs over a directory that is always there, then as root over the old one: ".", "." stacks
 * them, and detaching what is on top leaves nothing of the host's files in reach.
 */
static int empty_root(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
		  "mode=555,nr_inodes=1,size=4k") < 0 ||
	    chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

static int leave_namespaces(void)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
		return -errno;
	return empty_root();
}

/* The bounding set first: emptying it takes a capability. */
static int drop_identity(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};

	for (unsigned long cap = 0; cap <= CAP_LAST_TRY; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			return -errno;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &header, none) < 0)
		return -errno;
	return 0;
}

/* Time is not limited here: whoever waits for an answer kills a worker that is late with it. */
static int set_limits(void)
{
	static const struct {
		__rlimit_resource_t resource;
		rlim_t value;
	} limits[] = {
		{RLIMIT_CORE, 0},	 {RLIMIT_FSIZE, 0},    {RLIMIT_NPROC, 0},
		{RLIMIT_MEMLOCK, 0},	 {RLIMIT_MSGQUEUE, 0}, {RLIMIT_NOFILE, 8},
#ifndef __SANITIZE_ADDRESS__
		{RLIMIT_AS, MEMORY_MAX},
#endif
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const struct rlimit limit = {limits[i].value, limits[i].value};

		if (setrlimit(limits[i].resource, &limit) < 0)
			return -errno;
	}
	return 0;
}

static int close_others(int socket)
{
	if (socket > 0 && close_range(0, (unsigned)socket - 1, 0) < 0)
		return -errno;
	if (close_range((unsigned)socket + 1, ~0u, 0) < 0)
		return -errno;
	return 0;
}

static int add_rules(scmp_filter_ctx filter, int socket)
{
	static const int free_calls[] = {
		SCMP_SYS(munmap),  SCMP_SYS(mremap),	    SCMP_SYS(brk),
		SCMP_SYS(madvise), SCMP_SYS(close),	    SCMP_SYS(lseek),
		SCMP_SYS(futex),   SCMP_SYS(clock_gettime), SCMP_SYS(restart_syscall),
		SCMP_SYS(exit),	   SCMP_SYS(exit_group),
	};
	static const int socket_calls[] = {SCMP_SYS(recvmsg), SCMP_SYS(sendmsg)};
	static const int memory_calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(free_calls); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, free_calls[i], 0);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(socket_calls); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, socket_calls[i], 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)socket));
	/* No new code: what is compiled here runs elsewhere. */
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(memory_calls); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, memory_calls[i], 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* The C library's qsort() asks how much memory there is; it needs no answer. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(sysinfo), 0);
	return r;
}

static int filter_calls(int socket)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!filter)
		return -ENOMEM;
	r = add_rules(filter, socket);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

int sandbox_enter(int socket)
{
	const bool root = geteuid() == 0;
	int r = 0;

	if (root)
		r = leave_namespaces();
	if (r == 0 && root)
		r = drop_identity();
	if (r == 0)
		r = close_others(socket);
	if (r == 0)
		r = set_limits();
	if (r < 0)
		return r;
	/* Both are reset by a change of identity, so they come after it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return filter_calls(socket);
}
