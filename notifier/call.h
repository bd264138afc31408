/* SPDX-License-Identifier: MIT */
/*
 * One intercepted system call on its way through the daemon.
 *
 * A handler reads what it needs from the guest once, decides, acts, and returns the result the
 * guest gets: a value >= 0 or a -errno, as the kernel's own functions do. Two results go another
 * way: call_reply_fd() hands over a descriptor, and CALL_CONTINUE lets the kernel carry out the
 * call with the caller's own rights. CONTINUE is safe only where nothing was decided from guest
 * memory or descriptor numbers that the caller could not have done without us.
 */
#pragma once

#include <linux/seccomp.h>
#include <stdint.h>

#include "base/bpf_abi.h"
#include "base/list.h"
#include "base/reason.h"
#include "notifier/guest.h"
#include "notifier/tenant.h"

#define CALL_CONTINUE (-10000)

/**
 * struct call
 * @attr: copy of the guest's union bpf_attr, zero behind @attr_size
 * @attr_size: bytes of @attr that the guest gave and this kernel would read
 * @node: in the crew's backlog
 * @place: see pending_receive()
 * @reply_fd: descriptor to hand over, owned until sent; -1 for none
 * @reply_flags: of that descriptor; O_CLOEXEC unless the call says otherwise
 * @reserved: what the call has asked quotas for; counts as used until it is answered
 * @charged: bytes of the daemon's memory, until it is answered
 * @answered: by call_answer_early()
 * @reason: why we (not the kernel) refused; ends up in the log buffer and the journal
 */
struct call {
	struct list node;
	struct tenant *tenant;
	int place;
	struct seccomp_notif notif;
	struct guest guest;
	union abi_attr attr;
	uint32_t attr_size;
	int reply_fd;
	uint32_t reply_flags;
	struct reason reason;
	uint64_t reserved[POLICY_QUOTA_COUNT];
	uint64_t charged;
	bool answered;
	char name[32];
};

/**
 * call_receive() - take one notification off the tenant's listener
 *
 * Return: a call to be carried out with call_run(), or NULL when there was nothing to do or it was
 * answered at once.
 */
struct call *call_receive(struct tenant *tenant);

/** call_is_urgent() - whether somebody who holds a lock waits for it: it must not wait for a thread
 */
bool call_is_urgent(const struct call *call);

/** call_run() - carry out a call and answer it; frees @call */
void call_run(struct call *call);

/** call_answer_early() - the caller goes on with @result, whatever the handler returns */
void call_answer_early(struct call *call, int result);

/** call_reply_fd() - result is @fd, taken over. Return: 0, for `return call_reply_fd(...)`. */
int call_reply_fd(struct call *call, int fd);

/**
 * call_reserve() - ask a quota for what is about to be made
 *
 * Reserved until the call is answered: calls of other threads cannot be promised the same room.
 *
 * Return: 0 or -EPERM with a reason.
 */
int call_reserve(struct call *call, enum policy_quota quota, uint64_t more);

/**
 * call_alloc() - memory whose size the guest decides; charged to its tenant until the call ends
 *
 * Zeroed, but only pages that are touched are taken.
 *
 * Return: 0, or -ENOMEM, perhaps with a reason. Owns: free() @ret before the call ends.
 */
int call_alloc(struct call *call, uint64_t bytes, void *ret);

/** call_get_object() - the tenant's object behind the guest's descriptor @guest_fd
 * @kind: what it must be
 * @ret_fd: our duplicate, owned by the caller; may be NULL
 * @ret_object: a copy of the table's entry (its timer_fd belongs to the table)
 *
 * Return: 0, -EBADF, -EINVAL for another kind, -EPERM with a reason for another tenant's object.
 */
int call_get_object(struct call *call, int guest_fd, enum kobject_kind kind, int *ret_fd,
		    struct object *ret_object);

/**
 * call_timer_variant() - variant of a program that may run on timers whoever is current
 *
 * Return: duplicate descriptor, owned by the caller, or -ENOENT when there is none.
 */
int call_timer_variant(struct call *call, uint32_t real_id);

/**
 * call_add_object() - register a kernel object made for this tenant
 * @fd: the object, stays the caller's
 * @object: type, attach_type, size and name to record; timer_fd, umap and uprog are taken over
 *
 * Return: 0 or -errno.
 */
int call_add_object(struct call *call, enum kobject_kind kind, int fd, struct object *object);

/**
 * call_write_attr() - write @len bytes at @offset of the guest's own attr
 *
 * The kernel does so whatever size the guest gave, but for log_true_size, which its callers check.
 */
int call_write_attr(struct call *call, uint32_t offset, const void *value, uint32_t len);

/* Entry points by system call; each returns a result as described above. */
int call_bpf(struct call *call);
int call_perf_event_open(struct call *call);
int call_ioctl(struct call *call);
int call_prlimit(struct call *call);
int call_seccomp(struct call *call);

/** command_is_native() - whether a bpf() command is left to the kernel without a look */
bool command_is_native(const struct tenant *tenant, int cmd);
