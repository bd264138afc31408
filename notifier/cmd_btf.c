/* SPDX-License-Identifier: MIT */
/*
 * BTF objects of the tenant.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/btf_fields.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/call.h"
#include "notifier/commands.h"
#include "notifier/guestlog.h"

#define BTF_SIZE_MAX (16u << 20) /* BTF_MAX_SIZE, kernel/bpf/btf.c */

/* What the kernel would refuse it may: it has more to say of it. */
static int check_bounded(struct call *call, const void *btf, uint32_t size)
{
	int r = btf_is_bounded(btf, size);

	if (r == -E2BIG)
		return reason_set(&call->reason, r,
				  "BTF with more structures in structures than the kernel could "
				  "look through");
	if (r == -EOPNOTSUPP)
		return reason_set(&call->reason, r, "BTF with a kind of type that is not known");
	return r == -EINVAL ? 0 : r;
}

int cmd_btf_load(struct call *call)
{
	struct abi_btf_load attr = call->attr.btf_load;
	uint32_t size = call->attr_size < sizeof(attr) ? call->attr_size : (uint32_t)sizeof(attr);
	struct object object = {.size = attr.btf_size, .timer_fd = -1};
	struct guestlog log;
	cleanup_free void *btf = NULL;
	cleanup_fd int fd = -1;
	int r;

	if (attr.flags || attr.token_fd)
		return -EINVAL;
	if (attr.btf_size > BTF_SIZE_MAX)
		return -E2BIG;
	r = call_reserve(call, POLICY_QUOTA_BTFS, 1);
	if (r < 0)
		return r;
	r = call_alloc(call, attr.btf_size, &btf);
	if (r == 0)
		r = guest_read(&call->guest, attr.btf, btf, attr.btf_size);
	if (r < 0)
		return r;
	r = check_bounded(call, btf, attr.btf_size);
	if (r < 0)
		return r;
	r = guestlog_init(&log, call, attr.log_level, attr.log_buf, attr.log_size);
	if (r < 0)
		return r;
	attr.btf = (uintptr_t)btf;
	attr.log_buf = (uintptr_t)log.buf;
	fd = sys_bpf(BPF_BTF_LOAD, &attr, size);
	r = guestlog_deliver(&log, call);
	if (r == 0 && size > offsetof(struct abi_btf_load, log_true_size))
		r = call_write_attr(call, offsetof(struct abi_btf_load, log_true_size),
				    &attr.log_true_size, sizeof(attr.log_true_size));
	if (fd >= 0 && r < 0)
		return r;
	if (fd < 0)
		return fd;
	r = call_add_object(call, KOBJECT_BTF, fd, &object);
	if (r < 0)
		return r;
	return call_reply_fd(call, take_fd(&fd));
}
