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
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/call.h"
#include "notifier/cmd_prog_user.h"
#include "notifier/commands.h"
#include "notifier/test_run_packet.h"
#include "notifier/uspace.h"
#include "shim/test_run.h"

#define RAW_CTX_MAX (12 * 8u) /* MAX_BPF_FUNC_ARGS words, include/linux/bpf.h */

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

/* Of a raw tracepoint: what it starts from, and where its result goes. */
struct raw {
	unsigned char ctx[RAW_CTX_MAX];
	uint64_t attr_at;
};

static void raw_prepare(const struct shim_test_run *run, uint64_t at, unsigned char *ctx,
			unsigned char *memory)
{
	const struct raw *raw = run->data;

	memcpy(ctx, raw->ctx, sizeof(raw->ctx));
}

static int raw_finish(const struct shim_test_run *run, const struct shim_test_result *result)
{
	const struct raw *raw = run->data;

	return shim_test_give(run->tid, raw->attr_at + offsetof(struct abi_test_run, retval),
			      &result->retval, sizeof(result->retval));
}

/* Source: bpf_prog_test_run_raw_tp(), net/bpf/test_run.c, Linux 6.18; the same order. */
static int raw_check(const struct abi_test_run *attr, const struct uspace_prog *prog)
{
	if (attr->data_in || attr->data_out || attr->ctx_out || attr->duration || attr->repeat ||
	    attr->batch_size)
		return -EINVAL;
	if (attr->ctx_size_in < prog->ctx_size || attr->ctx_size_in > RAW_CTX_MAX)
		return -EINVAL;
	return !(attr->flags & BPF_F_TEST_RUN_ON_CPU) && attr->cpu ? -EINVAL : 0;
}

static int run_raw(struct call *call, struct uspace_prog *prog)
{
	const struct abi_test_run *attr = &call->attr.test_run;
	bool on_cpu = attr->flags & BPF_F_TEST_RUN_ON_CPU;
	struct raw raw = {.attr_at = call->notif.data.args[1]};
	struct shim_test_run run = {.cpu = on_cpu ? attr->cpu : REGION_TEST_RUN_ANY_CPU,
				    .repeat = 1,
				    .prepare = raw_prepare,
				    .finish = raw_finish,
				    .data = &raw};
	int r = raw_check(attr, prog);

	if (r == 0 && attr->ctx_size_in)
		r = guest_read(&call->guest, attr->ctx_in, raw.ctx, attr->ctx_size_in);
	if (r == 0 && on_cpu && !cpu_online(attr->cpu))
		r = -ENXIO;
	/* All is copied. */
	if (r == 0 && !guest_valid(&call->guest))
		r = -ESRCH;
	return r < 0 ? r : uspace_test_run(call, prog, &run);
}

/* Source: bpf_prog_test_run(), kernel/bpf/syscall.c, Linux 6.18. */
static int run_here(struct call *call, const struct object *object)
{
	const struct abi_test_run *attr = &call->attr.test_run;

	if (!attr->ctx_size_in != !attr->ctx_in || !attr->ctx_size_out != !attr->ctx_out)
		return -EINVAL;
	return object->type == BPF_PROG_TYPE_RAW_TRACEPOINT
		       ? run_raw(call, object->uprog)
		       : test_run_packet(call, object->uprog, object->type);
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

/* Of a tenant whose programs are only verified: the kernel has stubs of them. */
static int run_verified(struct call *call, const struct object *object)
{
	const struct uspace_prog *prog = object->uprog;

	if (object->type == BPF_PROG_TYPE_KPROBE)
		return -ABI_ENOTSUPP;
	if (!prog || !prog->code)
		return reason_set(&call->reason, -EOPNOTSUPP,
				  "the program was verified and cannot run outside of the kernel: "
				  "%.300s",
				  prog ? prog->why_not.text : "its type is not served");
	return run_here(call, object);
}

int cmd_prog_test_run(struct call *call)
{
	cleanup_fd int prog = -1;
	struct object object;
	int r;

	/* What is no program of the tenant's is the kernel's to say. */
	r = call_get_object(call, (int)call->attr.test_run.prog_fd, KOBJECT_PROG, &prog, &object);
	if (r < 0) {
		reason_clear(&call->reason);
		return CALL_CONTINUE;
	}
	if (call->tenant->verify_only)
		return run_verified(call, &object);
	/* Kprobes' programs are not run on request anywhere. */
	if (!object.uprog || object.type == BPF_PROG_TYPE_KPROBE)
		return CALL_CONTINUE;
	if (!prog_user_fits(call->tenant, object.type) || !object.uprog->code)
		return run_in_kernel(call, object.uprog);
	r = run_here(call, &object);
	if (r != -EOPNOTSUPP || policy_check_kernel(call->tenant->policy, NULL) < 0)
		return r;
	/* Its maps are used in the kernel. */
	reason_clear(&call->reason);
	return run_in_kernel(call, object.uprog);
}
