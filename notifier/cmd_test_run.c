/* SPDX-License-Identifier: MIT */
/*
 * PROG_TEST_RUN.
 *
 * What the kernel runs is left to it: it does so with the caller as current, which is what tools
 * rely on and what the guard lets through. Every program the tenant holds is guarded or a socket
 * filter, which sees what the caller gives it and no task, or a stub: it does not matter which
 * descriptor it swaps in.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/call.h"
#include "notifier/commands.h"
#include "notifier/uspace.h"
#include "shim/region.h"

/* Whether the kernel has a CPU of this number to run it on; "0-3,5" is what it says. */
static bool cpu_online(uint32_t cpu)
{
	cleanup_free char *text = NULL;
	const char *at;
	int used;

	if (read_file(AT_FDCWD, "/sys/devices/system/cpu/online", 65536, &text, NULL) < 0)
		return false;
	for (at = text; *at; at += used + (at[used] == ',')) {
		unsigned int first, last;

		used = 0;
		if (sscanf(at, "%u%n", &first, &used) != 1)
			return false;
		last = first;
		if (at[used] == '-') {
			at += used + 1;
			if (sscanf(at, "%u%n", &last, &used) != 1)
				return false;
		}
		if (cpu >= first && cpu <= last)
			return true;
		if (at[used] != ',')
			return false;
	}
	return false;
}

/* Source: bpf_prog_test_run(), kernel/bpf/syscall.c, and bpf_prog_test_run_raw_tp(),
 * net/bpf/test_run.c, Linux 6.18; the same order. */
static int check(const struct abi_test_run *attr, const struct uspace_prog *prog)
{
	bool on_cpu = attr->flags & BPF_F_TEST_RUN_ON_CPU;

	if (!attr->ctx_size_in != !attr->ctx_in || !attr->ctx_size_out != !attr->ctx_out)
		return -EINVAL;
	if (attr->data_in || attr->data_out || attr->ctx_out || attr->duration || attr->repeat ||
	    attr->batch_size)
		return -EINVAL;
	if (attr->ctx_size_in < prog->ctx_size || attr->ctx_size_in > REGION_TEST_RUN_CTX)
		return -EINVAL;
	return !on_cpu && attr->cpu ? -EINVAL : 0;
}

static int run_here(struct call *call, struct uspace_prog *prog)
{
	const struct abi_test_run *attr = &call->attr.test_run;
	bool on_cpu = attr->flags & BPF_F_TEST_RUN_ON_CPU;
	unsigned char ctx[REGION_TEST_RUN_CTX];
	int r = check(attr, prog);

	if (r == 0 && attr->ctx_size_in)
		r = guest_read(&call->guest, attr->ctx_in, ctx, attr->ctx_size_in);
	if (r == 0 && on_cpu && !cpu_online(attr->cpu))
		r = -ENXIO;
	/* All is copied. */
	if (r == 0 && !guest_valid(&call->guest))
		r = -ESRCH;
	return r < 0 ? r
		     : uspace_test_run(call, prog, on_cpu ? attr->cpu : REGION_TEST_RUN_ANY_CPU,
				       ctx, attr->ctx_size_in,
				       call->notif.data.args[1] +
					       offsetof(struct abi_test_run, retval));
}

/* In the kernel: the contents of its maps go there, and stay until processes want them. */
static int run_in_kernel(struct call *call, struct uspace_prog *prog)
{
	int r = prog ? uspace_prog_kernel_enter(prog, &call->reason) : 0;

	if (r < 0)
		return r;
	if (prog)
		uspace_prog_kernel_leave(prog);
	return CALL_CONTINUE;
}

int cmd_prog_test_run(struct call *call)
{
	cleanup_fd int prog = -1;
	struct object object;
	int r;

	if (call->tenant->verify_only)
		return reason_set(&call->reason, -EOPNOTSUPP,
				  "programs are verified only and do not run");
	/* What is no program of the tenant's is the kernel's to say. */
	r = call_get_object(call, (int)call->attr.test_run.prog_fd, KOBJECT_PROG, &prog, &object);
	if (r < 0) {
		reason_clear(&call->reason);
		return CALL_CONTINUE;
	}
	/* Kprobes' programs are not run on request anywhere. */
	if (!object.uprog || object.type == BPF_PROG_TYPE_KPROBE)
		return CALL_CONTINUE;
	if (object.type != BPF_PROG_TYPE_RAW_TRACEPOINT || !object.uprog->code)
		return run_in_kernel(call, object.uprog);
	r = run_here(call, object.uprog);
	if (r != -EOPNOTSUPP || policy_check_kernel(call->tenant->policy, NULL) < 0)
		return r;
	/* Its maps are used in the kernel. */
	reason_clear(&call->reason);
	return run_in_kernel(call, object.uprog);
}
