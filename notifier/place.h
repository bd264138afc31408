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
 * struct place_request - a user probe as a tool asked for it with perf_event_open(); counted
 * @attr: what the kernel will be asked for; config1 is set from @file when it is
 * @pid, @cpu: in our numbering
 * @file: owned
 */
struct place_request {
	unsigned int refs;
	struct perf_event_attr attr;
	pid_t pid;
	int cpu;
	struct probe_file file;
};

/**
 * struct placement - what became of the question, until it is known that the program is attached
 * @user: USER placement: the attachment; owned
 * @event_fd: KERNEL placement of an event with a request: the kernel's event for it, or -1; owned
 * @kernel_prog: KERNEL placement: the program, entered there; a reference
 * @why: why there
 */
struct placement {
	struct uspace_link *user;
	int event_fd;
	struct uspace_prog *kernel_prog;
	struct reason why;
};
#define PLACEMENT_NONE ((struct placement){.event_fd = -1})

/** place_request_new() - @file is taken over, also on failure. Return: NULL without memory. */
struct place_request *place_request_new(const struct perf_event_attr *attr, pid_t pid, int cpu,
					struct probe_file *file);
struct place_request *place_request_ref(struct place_request *request);
/** place_request_unref() - accepts NULL. Return: NULL. */
struct place_request *place_request_unref(struct place_request *request);

/** place_open() - the kernel's event for it. Return: descriptor, owned by the caller, or -errno. */
int place_open(const struct place_request *request);

/**
 * place_event() - choose the placement of an event that is about to get its program
 * @event: ATTACHMENT_EVENT; the caller holds its @placing. It stays as it is
 * @prog: our descriptor of the program, @object its entry
 * @cookie: of a link, else 0
 * @ret_placement: PLACEMENT_NONE before. Without @user in it the caller attaches the program to
 *	place_event_fd(); then place_opened() and place_commit(), or place_undo()
 *
 * Errors: those of the kernel, and -EPERM or -EOPNOTSUPP with a reason.
 */
int place_event(struct call *call, const struct attachment *event, int prog,
		const struct object *object, uint64_t cookie, struct placement *ret_placement);

/** place_taken() - whether a program runs for @event in traced processes, set on it or linked to it
 */
bool place_taken(const struct attachment *event);

/** place_event_fd() - the kernel's event that gets the program; not owned */
int place_event_fd(const struct attachment *event, const struct placement *placement);

/**
 * place_kernel() - the program is about to run in the kernel
 *
 * Errors: -EPERM with a reason when one of its maps is in use in traced processes.
 */
int place_kernel(struct call *call, const struct object *object, struct placement *ret_placement);

/**
 * struct place_cause - why attachments in traced processes have to move into the kernel
 * @prog: is to run there, and shares maps with them; or NULL
 * @file: is to get a breakpoint; or NULL
 * @link: is to be the kernel's own; or NULL
 */
struct place_cause {
	const struct uspace_prog *prog;
	const struct probe_file *file;
	const struct attachment *link;
};

/**
 * place_move() - they do, with all that share maps or files with them (place_move.c)
 *
 * No hit is lost but of those whose program a signal has interrupted: processes stand meanwhile.
 *
 * Return: 0, or -EPERM with a reason in @call: they stay where they are.
 */
int place_move(struct call *call, const struct place_cause *cause);

/** place_conflict() - probe_conflict(), once probes in traced processes have moved that would be one */
int place_conflict(struct call *call, const struct probe_file *file, const uint64_t *offsets,
		   uint32_t cnt);

/** place_opened() - @event got its program: it takes over the kernel's event, if one was opened
 *  @prog_id: tenant's numbering */
void place_opened(struct attachment *event, struct placement *placement, uint32_t prog_id);

/** place_commit() - @attachment is what runs the program: it takes over the rest */
void place_commit(struct attachment *attachment, struct placement *placement);

/** place_undo() - nothing was attached, or not everything was taken over; idempotent */
void place_undo(struct placement *placement);

/**
 * place_multi() - USER placement for a uprobe_multi link, where the policy prefers it
 *
 * Return: 1 and @user, 0 when it is to run in the kernel, or -errno.
 */
struct place_multi {
	const struct probe_file *file;
	const uint64_t *offsets, *cookies, *semaphores;
	uint32_t cnt;
	bool at_return;
	pid_t pid;
};
int place_multi(struct call *call, const struct place_multi *multi, int prog,
		const struct object *object, struct placement *ret_placement);
