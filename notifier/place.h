/* SPDX-License-Identifier: MIT */
/*
 * Where a user probe's program runs: in the traced process (USER) or in the kernel (KERNEL). It is
 * decided when the program comes, for the type of a program does not tell a uprobe from a kprobe;
 * until then the event that the tool opened is only a request.
 */
#pragma once

#include <linux/perf_event.h>
#include <sys/types.h>

#include "notifier/attachment.h"
#include "notifier/object.h"
#include "notifier/probe.h"

struct call;

/**
 * struct place_request - a user probe as a tool asked for it with perf_event_open()
 * @attr: what the kernel will be asked for; config1 is set from @file when it is
 * @pid, @cpu: in our numbering
 * @file: owned
 */
struct place_request {
	struct perf_event_attr attr;
	pid_t pid;
	int cpu;
	struct probe_file file;
};

/** place_request_new() - @file is taken over, also on failure. Return: NULL without memory. */
struct place_request *place_request_new(const struct perf_event_attr *attr, pid_t pid, int cpu,
					struct probe_file *file);
/** place_request_free() - accepts NULL. Return: NULL. */
struct place_request *place_request_free(struct place_request *request);

/**
 * place_event() - choose the placement of an event that got its program
 * @event: ATTACHMENT_EVENT with a request
 * @prog: our descriptor of the program, @object its entry
 * @cookie: of a link, else 0
 * @ret_user: in USER placement the attachment; owned by the caller. NULL in KERNEL placement:
 *@event has its real_fd then, and the caller attaches the program to it
 *
 * Errors: those of the kernel, and -EPERM or -EOPNOTSUPP with a reason.
 */
int place_event(struct call *call, struct attachment *event, int prog, const struct object *object,
		uint64_t cookie, struct uspace_link **ret_user);

/**
 * place_kernel() - the program of @attachment runs in the kernel
 *
 * Errors: -EPERM with a reason when one of its maps lives in traced processes.
 */
int place_kernel(struct call *call, struct attachment *attachment, const struct object *object);

/**
 * place_multi() - USER placement for a uprobe_multi link, where the policy prefers it
 *
 * Return: 1 and @ret_user, 0 when it is to run in the kernel, or -errno.
 */
struct place_multi {
	const struct probe_file *file;
	const uint64_t *offsets, *cookies, *semaphores;
	uint32_t cnt;
	bool at_return;
	pid_t pid;
};
int place_multi(struct call *call, const struct place_multi *multi, int prog,
		const struct object *object, struct uspace_link **ret_user, struct reason *ret_why);
