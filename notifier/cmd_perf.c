/* SPDX-License-Identifier: MIT */
/*
 * perf_event_open(). Only the forms by which tools attach programs are carried out here, rebuilt
 * field by field; every other use is left to the kernel with the caller's own rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/attachment.h"
#include "notifier/call.h"
#include "notifier/place.h"
#include "notifier/probe.h"
#include "notifier/tracefs.h"

#define PERF_PMU_FLAG_RET  1u /* config bit 0 of the uprobe and kprobe PMUs */
#define PERF_REF_CTR_SHIFT 32
#define USER_ADDRESS_MAX   (1ull << 47)
#define NSEC_PER_SEC	   1000000000ull
#define ARG(call, n)	   ((call)->notif.data.args[n])

/* One request on its way: the guest's copy and what we will ask the kernel for. */
struct perf_request {
	struct perf_event_attr in, out;
	int pid, cpu;
	enum policy_attach what;
	struct probe_file file;
	char target[256];
	uint64_t offset;
	uint32_t fd_type;
	bool timer;
	bool deferred; /* the kernel's event is opened, if at all, when the program comes */
};

/* sizeof(struct perf_event_attr) of the running kernel: it says so when it is given more. */
static uint32_t perf_attr_size(void)
{
	static _Atomic uint32_t found;
	unsigned char bytes[4096] = {[4095] = 1};
	struct perf_event_attr *attr = (void *)bytes;

	if (!found) {
		attr->size = sizeof(bytes);
		found = sys_perf_event_open(attr, 0, -1, -1, 0) == -E2BIG &&
					attr->size >= sizeof(*attr) && attr->size < sizeof(bytes)
				? attr->size
				: sizeof(*attr);
	}
	return found;
}

/* perf_copy_attr(), kernel/events/core.c: size 0 means the first version; unknown bytes must be 0.
 */
static int perf_copy_attr(struct call *call, struct perf_event_attr *ret_attr, bool *ret_foreign)
{
	const uint32_t size_at = offsetof(struct perf_event_attr, size);
	uint64_t addr = ARG(call, 0);
	unsigned char bytes[4096] = {0};
	const uint32_t understood = sizeof(struct perf_event_attr);
	uint32_t size, own = perf_attr_size();
	int r;

	r = guest_read(&call->guest, addr + size_at, &size, sizeof(size));
	if (r < 0)
		return r;
	if (size == 0)
		size = PERF_ATTR_SIZE_VER0;
	if (size < PERF_ATTR_SIZE_VER0 || size > sizeof(bytes)) {
		r = guest_write(&call->guest, addr + size_at, &own, sizeof(own));
		return r < 0 ? r : -E2BIG;
	}
	r = guest_read(&call->guest, addr, bytes, size);
	if (r < 0)
		return r;
	for (uint32_t i = own; i < size; i++) {
		if (bytes[i]) {
			r = guest_write(&call->guest, addr + size_at, &own, sizeof(own));
			return r < 0 ? r : -E2BIG;
		}
	}
	memcpy(ret_attr, bytes, understood);
	ret_attr->size = size;
	/* What the kernel knows and we do not makes it another's business. */
	for (uint32_t i = understood; i < own && i < size; i++)
		*ret_foreign |= bytes[i] != 0;
	return 0;
}

/* PMU type numbers are assigned at boot; -1 when the kernel has no such PMU. */
static int pmu_type(const char *name)
{
	cleanup_free char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/event_source/devices/%s/type", name);
	if (read_file(AT_FDCWD, path, 32, &text, NULL) < 0)
		return -1;
	return atoi(text);
}

/*
 * Whether this is how a tool opens an event for a program. Everything that makes the kernel write
 * samples, side-band records or values the tenant could read is not: those could tell of others.
 */
static bool is_tool_form(const struct perf_event_attr *in)
{
	struct perf_event_attr rest = *in;
	bool output = in->type == PERF_TYPE_SOFTWARE && in->config == PERF_COUNT_SW_BPF_OUTPUT;

	if (in->sample_type != (output ? PERF_SAMPLE_RAW : 0))
		return false;
	rest.type = rest.size = rest.wakeup_events = rest.bp_type = 0;
	rest.config = rest.config1 = rest.config2 = rest.sample_period = rest.sample_type = 0;
	rest.disabled = rest.freq = rest.exclude_user = rest.exclude_kernel = 0;
	rest.exclude_hv = rest.exclude_idle = rest.precise_ip = rest.pinned = 0;
	for (size_t i = 0; i < sizeof(rest); i++)
		if (((const unsigned char *)&rest)[i])
			return false;
	return true;
}

static int request_uprobe(struct call *call, struct perf_request *req)
{
	uint64_t ref_ctr = req->in.config >> PERF_REF_CTR_SHIFT;
	int r;

	req->what = POLICY_ATTACH_UPROBE;
	r = probe_file_open(call, req->in.config1, &req->file);
	if (r < 0)
		return r;
	req->deferred = call->tenant->uspace;
	if (!req->deferred) {
		r = req->pid < 0 ? probe_scope(call, &req->file) : 0;
		if (r == 0)
			r = probe_conflict(call, &req->file, (const uint64_t[]){req->in.config2},
					   1);
		if (r < 0)
			return r;
	}
	ref_ctr = probe_semaphore(&req->file, ref_ctr);
	req->out.config = (req->in.config & PERF_PMU_FLAG_RET) | ref_ctr << PERF_REF_CTR_SHIFT;
	req->out.config1 = (uintptr_t)req->file.kernel_path;
	req->out.config2 = req->in.config2;
	req->offset = req->in.config2;
	req->fd_type =
		req->in.config & PERF_PMU_FLAG_RET ? BPF_FD_TYPE_URETPROBE : BPF_FD_TYPE_UPROBE;
	snprintf(req->target, sizeof(req->target), "%s", req->file.path);
	return 0;
}

static int request_kprobe(struct call *call, struct perf_request *req)
{
	ssize_t len;

	req->what = POLICY_ATTACH_KPROBE;
	if (!req->in.config1)
		return reason_set(&call->reason, -EPERM,
				  "a kprobe by address would confirm guesses of kernel addresses");
	len = guest_read_string(&call->guest, req->in.config1, req->target, sizeof(req->target));
	if (len < 0)
		return (int)len;
	req->out.config = req->in.config & PERF_PMU_FLAG_RET;
	req->out.config1 = (uintptr_t)req->target;
	req->out.config2 = req->in.config2;
	req->offset = req->in.config2;
	req->fd_type =
		req->in.config & PERF_PMU_FLAG_RET ? BPF_FD_TYPE_KRETPROBE : BPF_FD_TYPE_KPROBE;
	return policy_check_kprobe(call->tenant->policy, req->target, req->offset, &call->reason);
}

static int request_tracepoint(struct call *call, struct perf_request *req)
{
	req->what = POLICY_ATTACH_TRACEPOINT;
	req->out.config = req->in.config;
	req->fd_type = BPF_FD_TYPE_TRACEPOINT;
	if (tracefs_event_name(req->in.config, req->target, sizeof(req->target)) < 0)
		snprintf(req->target, sizeof(req->target), "id:%llu",
			 (unsigned long long)req->in.config);
	/* No program attaches to them, and the mere event makes every kernel function slower. */
	if (strncmp(req->target, "ftrace:", strlen("ftrace:")) == 0)
		return reason_set(&call->reason, -EPERM, "%s is no tracepoint", req->target);
	return policy_check_attach(call->tenant->policy, req->what, req->target, &call->reason);
}

static int request_watchpoint(struct call *call, struct perf_request *req)
{
	req->what = POLICY_ATTACH_WATCHPOINT;
	if (req->in.bp_addr >= USER_ADDRESS_MAX || req->pid < 0)
		return reason_set(&call->reason, -EPERM,
				  "watchpoints are for user addresses of one process");
	req->out.bp_type = req->in.bp_type;
	req->out.bp_addr = req->in.bp_addr;
	req->out.bp_len = req->in.bp_len;
	req->offset = req->in.bp_addr;
	snprintf(req->target, sizeof(req->target), "watchpoint");
	return policy_check_attach(call->tenant->policy, req->what, NULL, &call->reason);
}

/* kernel.perf_event_max_sample_rate: a higher frequency is EINVAL to whoever asks. */
static uint64_t kernel_rate(void)
{
	cleanup_free char *text = NULL;

	if (read_file(AT_FDCWD, "/proc/sys/kernel/perf_event_max_sample_rate", 32, &text, NULL) < 0)
		return UINT64_MAX;
	return strtoull(text, NULL, 10);
}

/*
 * A clock on a CPU interrupts everybody there, and the guard can only be quick about it. How often
 * a period of other events comes is for those to say who cause them, like hits of a tracepoint.
 */
static int check_rate(struct call *call, const struct perf_request *req)
{
	const struct perf_event_attr *in = &req->in;
	bool clock = in->type == PERF_TYPE_SOFTWARE && (in->config == PERF_COUNT_SW_CPU_CLOCK ||
							in->config == PERF_COUNT_SW_TASK_CLOCK);
	uint64_t rate = 0;

	if (req->pid >= 0)
		return 0;
	if (in->freq)
		rate = in->sample_freq;
	else if (clock && in->sample_period)
		rate = (NSEC_PER_SEC - 1) / in->sample_period + 1;
	if (in->freq && rate > kernel_rate())
		return -EINVAL;
	return policy_check_quota(call->tenant->policy, POLICY_QUOTA_CLOCK_RATE, 0, rate,
				  &call->reason);
}

static int request_counter(struct call *call, struct perf_request *req)
{
	int r;

	req->what = POLICY_ATTACH_PERF_EVENT;
	req->out.config = req->in.config;
	/* A clock ticks whoever runs; any other event is somebody's doing. */
	req->timer = req->in.type == PERF_TYPE_SOFTWARE &&
		     req->in.config == PERF_COUNT_SW_CPU_CLOCK && req->pid < 0;
	snprintf(req->target, sizeof(req->target), "type %u config %llu", req->in.type,
		 (unsigned long long)req->in.config);
	r = policy_check_attach(call->tenant->policy, req->what, NULL, &call->reason);
	return r < 0 ? r : check_rate(call, req);
}

/* Fill in @req->out from what is understood; nothing else of the guest's reaches the kernel. */
static int request_build(struct call *call, struct perf_request *req, bool output)
{
	const struct perf_event_attr *in = &req->in;

	req->out = (struct perf_event_attr){
		.type = in->type,
		.size = sizeof(req->out),
		.sample_type = in->sample_type,
		.sample_period = in->sample_period,
		.wakeup_events = in->wakeup_events,
		.freq = in->freq,
		.disabled = in->disabled,
		.exclude_user = in->exclude_user,
		.exclude_kernel = in->exclude_kernel,
		.exclude_hv = in->exclude_hv,
		.exclude_idle = in->exclude_idle,
		.precise_ip = in->precise_ip,
		.pinned = in->pinned,
	};
	if (output) {
		req->out.config = in->config;
		return 0;
	}
	if ((int)in->type == pmu_type("uprobe"))
		return request_uprobe(call, req);
	if ((int)in->type == pmu_type("kprobe"))
		return request_kprobe(call, req);
	switch (in->type) {
	case PERF_TYPE_TRACEPOINT:
		return request_tracepoint(call, req);
	case PERF_TYPE_BREAKPOINT:
		return request_watchpoint(call, req);
	default:
		return request_counter(call, req);
	}
}

static int request_open(struct call *call, struct perf_request *req, bool output)
{
	struct attachment *attachment;
	int fd = -1, anchor, r;

	if (!req->deferred)
		fd = sys_perf_event_open(&req->out, req->pid, req->cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0 && !req->deferred)
		return fd;
	/* Tools map and poll this one; only their own programs can write to it. */
	if (output) {
		tenant_count_output(call->tenant);
		return call_reply_fd(call, fd);
	}
	r = attachment_new(call->tenant, ATTACHMENT_EVENT, fd, &attachment);
	if (r < 0)
		return r;
	attachment->facts.what = req->what;
	attachment->facts.offset = req->offset;
	attachment->facts.fd_type = req->fd_type;
	attachment->timer = req->timer;
	if (req->deferred) {
		attachment->request = place_request_new(&req->out, req->pid, req->cpu, &req->file);
		if (!attachment->request) {
			attachment_unref(attachment);
			return -ENOMEM;
		}
	}
	memcpy(attachment->facts.target, req->target, sizeof(attachment->facts.target));
	attachment_list(attachment);
	anchor = attachment_anchor(attachment);
	attachment_unref(attachment);
	return anchor < 0 ? anchor : call_reply_fd(call, anchor);
}

/* A uprobe whose program may run in the traced process. */
static bool is_deferrable(const struct call *call, const struct perf_event_attr *in)
{
	return call->tenant->uspace && (int)in->type == pmu_type("uprobe");
}

int call_perf_event_open(struct call *call)
{
	struct perf_request req = {.file.fd = -1};
	bool output, foreign = false;
	int r;

	if (!(ARG(call, 4) & PERF_FLAG_FD_CLOEXEC))
		call->reply_flags = 0;
	r = perf_copy_attr(call, &req.in, &foreign);
	if (r < 0)
		return r;
	if (!guest_valid(&call->guest))
		return -ESRCH;
	req.pid = (int)ARG(call, 1);
	req.cpu = (int)ARG(call, 2);
	if (foreign || !is_tool_form(&req.in) || (int)ARG(call, 3) != -1 ||
	    (ARG(call, 4) & ~PERF_FLAG_FD_CLOEXEC) || req.pid == 0)
		return CALL_CONTINUE;
	output = req.in.type == PERF_TYPE_SOFTWARE && req.in.config == PERF_COUNT_SW_BPF_OUTPUT;
	/* An output buffer runs nothing; programs of any placement write to it. */
	r = output || is_deferrable(call, &req.in)
		    ? 0
		    : policy_check_kernel(call->tenant->policy, &call->reason);
	if (r == 0)
		r = call_reserve(call, POLICY_QUOTA_EVENTS, 1);
	if (r < 0)
		return r;
	if (req.pid > 0) {
		req.pid = probe_pid(call, req.pid);
		if (req.pid < 0)
			return req.pid;
	}
	r = request_build(call, &req, output);
	if (r == 0)
		r = request_open(call, &req, output);
	probe_file_close(&req.file);
	return r;
}
