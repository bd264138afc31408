/* SPDX-License-Identifier: MIT */
/*
 * Perf events and links: what makes a program run.
 *
 * The real kernel object stays with us. The tenant holds an *anchor*: one end of a socket pair
 * whose other end we watch, so the last close is noticed at once, whoever made it, and a daemon
 * that dies takes every attachment with it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/reason.h"
#include "notifier/loop.h"
#include "notifier/pool.h"
#include "policy/policy.h"

struct tenant;

enum attachment_kind {
	ATTACHMENT_EVENT, /* from perf_event_open() */
	ATTACHMENT_LINK,  /* from BPF_LINK_CREATE or BPF_RAW_TRACEPOINT_OPEN */
};

/**
 * struct attachment_facts - what the tenant and bpfshimctl are told of an attachment
 * @what, @target, @offset: @target is what the tool asked for
 * @fd_type: BPF_FD_TYPE_* as BPF_TASK_FD_QUERY reports it
 * @weight: what it counts for in the quota of links: probes it makes
 * @prog_id: program attached, tenant's numbering; 0 for none
 * @multi: a uprobe_multi link; @flags: as the tool gave them, @pid: its pid filter likewise
 */
struct attachment_facts {
	enum policy_attach what;
	char target[256];
	uint64_t offset;
	uint32_t fd_type, weight, prog_id, pid, flags;
	bool multi;
};

struct place_request;
struct uspace_link;
struct uspace_prog;

/**
 * struct attachment - one real event or link held for the tenant
 * @refs: anchors alive plus calls using it
 * @real_fd: the kernel object, or -1 in USER placement and before a placement was chosen; owned
 * @user: USER placement: the attachment in traced processes; owned
 * @placing: event: held while a program is attached, so that two callers do not place it twice
 * @request: a user probe that the kernel does not have: its placement is chosen when a program
 *	comes. A link of one in USER placement has it, too; a reference
 * @kernel_prog: its program, counted as one that runs in the kernel; a reference
 * @placement: why it is placed where it is
 * @id: link: id as the tenant sees it; @real_id as the kernel numbers it
 * @event: number of the event it is, or that it is a link of in USER placement; never used again
 * @timer: event: a clock without a subject, may run a program's variant without guard
 *
 * Once it is listed, what changes (@real_fd, @user, @request, @kernel_prog, @placement, @prog_id)
 * is written under the tenant's lock, so that bpfshimctl may read it at any time.
 */
struct attachment {
	struct list node;
	struct pool_job job;
	struct tenant *tenant;
	unsigned int refs;
	enum attachment_kind kind;
	int real_fd;
	struct uspace_link *user;
	pthread_mutex_t placing;
	struct place_request *request;
	struct uspace_prog *kernel_prog;
	struct reason placement;
	uint32_t id, real_id;
	uint64_t event;
	struct attachment_facts facts;
	bool timer;
};

/** attachment_new() - known to nobody yet. @real_fd is taken over, also on failure.
 *  Return: 0 or -ENOMEM. */
int attachment_new(struct tenant *tenant, enum attachment_kind kind, int real_fd,
		   struct attachment **ret_attachment);

/** attachment_list() - its fields are set: enter it into the tenant's table; a link gets its id */
void attachment_list(struct attachment *attachment);

/** attachment_unref() - drop a reference; the last one closes the kernel object. Return: NULL. */
struct attachment *attachment_unref(struct attachment *attachment);

/**
 * attachment_anchor() - make a descriptor for the tenant that stands for @attachment
 *
 * Return: descriptor, owned by the caller (send it, close it), or -errno.
 */
int attachment_anchor(struct attachment *attachment);

/** attachment_by_fd() - which attachment one of our duplicates of a guest's descriptor stands for;
 *  takes a reference. Return: NULL for none of this tenant. */
struct attachment *attachment_by_fd(struct tenant *tenant, int fd);

/** attachment_by_id() - a link by the tenant's id, with a reference, or NULL */
struct attachment *attachment_by_id(struct tenant *tenant, uint32_t id);

/** attachment_by_real_id() - the link that holds a kernel's link, or NULL; the caller holds the
 *  tenant's lock, and gets no reference */
struct attachment *attachment_by_real_id(struct tenant *tenant, uint32_t real_id);
