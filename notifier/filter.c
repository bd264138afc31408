/* SPDX-License-Identifier: MIT */
/*
 * Generates the filter with libseccomp, loads it with the raw system call: libseccomp 2.5.4 knows
 * neither several listeners nor WAIT_KILLABLE_RECV.
 */
#include "notifier/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/feature.h"
#include "base/sys.h"
#include "notifier/fdpass.h"

/* All perf ioctls share the type byte '$' (_IOC_TYPE); the kernel looks at the low 32 bits only. */
#define PERF_IOCTL_MASK 0xff00
#define PERF_IOCTL_TYPE 0x2400

/* Before a process gets a filter of its own nothing of ours may make system calls in it any more;
 * see cmd_seccomp.c. */
static int filter_rules_filters(scmp_filter_ctx ctx)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(seccomp), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, SECCOMP_SET_MODE_FILTER));

	if (r < 0)
		return r;
	return seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(prctl), 2,
				SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, PR_SET_SECCOMP),
				SCMP_A1(SCMP_CMP_EQ, SECCOMP_MODE_FILTER));
}

static int filter_rules_native(scmp_filter_ctx ctx)
{
	int r;

	r = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(bpf), 0);
	if (r < 0)
		return r;
	r = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(perf_event_open), 0);
	if (r < 0)
		return r;
	r = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(ioctl), 1,
			     SCMP_A1(SCMP_CMP_MASKED_EQ, PERF_IOCTL_MASK, PERF_IOCTL_TYPE));
	if (r < 0)
		return r;
	/* Tools raise RLIMIT_MEMLOCK and complain when they cannot; see cmd_prlimit.c. */
	r = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(prlimit64), 2,
			     SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, RLIMIT_MEMLOCK),
			     SCMP_A2(SCMP_CMP_NE, 0));
	return r < 0 ? r : filter_rules_filters(ctx);
}

/*
 * The tree shares the terminal of root who started it. Both ioctls put input into that terminal, as
 * if root had typed it. Source: drivers/tty/tty_io.c tiocsti(), drivers/tty/vt/selection.c.
 */
static int filter_rules_terminal(scmp_filter_ctx ctx)
{
	static const unsigned int numbers[] = {TIOCSTI, TIOCLINUX};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(numbers) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, numbers[i]));
	return r;
}

/*
 * A 64-bit process can enter the kernel through the i386 and x32 tables, where the structures we
 * decode differ. Nobody needs eBPF there, so those entries are closed rather than decoded.
 */
static int filter_rules_foreign(scmp_filter_ctx ctx)
{
	int r;

	r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(bpf), 0);
	if (r < 0)
		return r;
	r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(perf_event_open), 0);
	if (r < 0)
		return r;
	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
				SCMP_A1(SCMP_CMP_MASKED_EQ, PERF_IOCTL_MASK, PERF_IOCTL_TYPE));
}

static int filter_export(scmp_filter_ctx ctx, struct sock_fprog *ret_prog)
{
	cleanup_fd int fd = memfd_create("bpfshim-filter", MFD_CLOEXEC);
	cleanup_free struct sock_filter *insns = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	insns = malloc((size_t)st.st_size);
	if (!insns)
		return -ENOMEM;
	if (pread(fd, insns, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	ret_prog->len = (unsigned short)((size_t)st.st_size / sizeof(*insns));
	ret_prog->filter = take_ptr(&insns);
	return 0;
}

static int filter_foreign_new(bool confined, scmp_filter_ctx *ret_ctx)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!ctx)
		return -ENOMEM;
	r = seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE);
	if (r == 0)
		r = seccomp_arch_add(ctx, SCMP_ARCH_X86);
	if (r == 0)
		r = seccomp_arch_add(ctx, SCMP_ARCH_X32);
	if (r == 0)
		r = filter_rules_foreign(ctx);
	if (r == 0 && confined)
		r = filter_rules_terminal(ctx);
	if (r < 0) {
		seccomp_release(ctx);
		return r;
	}
	*ret_ctx = ctx;
	return 0;
}

int filter_build(bool confined, struct sock_fprog *ret_prog)
{
	scmp_filter_ctx ctx, foreign;
	int r;

	ctx = seccomp_init(SCMP_ACT_ALLOW);
	if (!ctx)
		return -ENOMEM;
	r = filter_rules_native(ctx);
	if (r == 0 && confined)
		r = filter_rules_terminal(ctx);
	if (r == 0)
		r = filter_foreign_new(confined, &foreign);
	if (r == 0) {
		r = seccomp_merge(ctx, foreign);
		if (r < 0)
			seccomp_release(foreign);
	}
	if (r == 0)
		r = filter_export(ctx, ret_prog);
	seccomp_release(ctx);
	return r;
}

int filter_install_and_send(int sync_fd, bool confined)
{
	unsigned int flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	struct sock_fprog prog = {0};
	cleanup_free struct sock_filter *insns = NULL;
	cleanup_fd int listener = -1;
	char go;
	int r;

	r = filter_build(confined, &prog);
	if (r < 0)
		return r;
	insns = prog.filter;
	/* Without it a signalled call is simply retried. */
	if (feature_has(FEATURE_WAIT_KILLABLE))
		flags |= SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	listener = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (listener < 0)
		return listener;
	r = fdpass_send(sync_fd, listener);
	if (r < 0)
		return r;
	if (read(sync_fd, &go, 1) != 1)
		return -EPIPE;
	return 0;
}
