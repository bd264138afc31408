/* SPDX-License-Identifier: MIT */
/*
 * Enumeration. A tenant sees its own objects under its own numbers, and vmlinux' BTF.
 */
#include <errno.h>
#include <limits.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/attachment.h"
#include "notifier/call.h"
#include "notifier/commands.h"

static int reply_next_id(struct call *call, uint32_t next)
{
	if (!next)
		return -ENOENT;
	return call_write_attr(call, offsetof(struct abi_get_id, next_id), &next, sizeof(next));
}

static int next_id(struct call *call, enum kobject_kind kind)
{
	struct tenant *tenant = call->tenant;
	uint32_t next;

	if (call->attr.get_id.open_flags || call->attr.get_id.token_fd ||
	    call->attr.get_id.id >= INT_MAX)
		return -EINVAL;
	pthread_mutex_lock(&tenant->lock);
	object_sweep(&tenant->table);
	next = object_next_id(&tenant->table, kind, call->attr.get_id.id);
	pthread_mutex_unlock(&tenant->lock);
	return reply_next_id(call, next);
}

int cmd_prog_next_id(struct call *call)
{
	return next_id(call, KOBJECT_PROG);
}

int cmd_map_next_id(struct call *call)
{
	return next_id(call, KOBJECT_MAP);
}

int cmd_btf_next_id(struct call *call)
{
	if (call->attr.get_id.id < OBJECT_BTF_VMLINUX)
		return reply_next_id(call, OBJECT_BTF_VMLINUX);
	return next_id(call, KOBJECT_BTF);
}

int cmd_link_next_id(struct call *call)
{
	struct attachment *attachment;
	uint32_t after = call->attr.get_id.id, next = 0;

	if (after >= INT_MAX)
		return -EINVAL;
	pthread_mutex_lock(&call->tenant->lock);
	list_for_each(attachment, &call->tenant->attachments,
		      node) if (attachment->kind == ATTACHMENT_LINK && attachment->id > after &&
				(!next || attachment->id < next)) next = attachment->id;
	pthread_mutex_unlock(&call->tenant->lock);
	return reply_next_id(call, next);
}

static int by_id(struct call *call, enum kobject_kind kind)
{
	struct tenant *tenant = call->tenant;
	struct object *object;
	struct abi_get_id attr = call->attr.get_id;
	static const int commands[] = {
		[KOBJECT_MAP] = BPF_MAP_GET_FD_BY_ID,
		[KOBJECT_PROG] = BPF_PROG_GET_FD_BY_ID,
		[KOBJECT_BTF] = BPF_BTF_GET_FD_BY_ID,
	};
	int fd;

	pthread_mutex_lock(&tenant->lock);
	object = object_by_id(&tenant->table, kind, attr.id);
	attr.id = object ? object->real_id : 0;
	pthread_mutex_unlock(&tenant->lock);
	if (!object)
		return -ENOENT;
	fd = sys_bpf(commands[kind], &attr, sizeof(attr));
	return fd < 0 ? fd : call_reply_fd(call, fd);
}

int cmd_prog_by_id(struct call *call)
{
	return by_id(call, KOBJECT_PROG);
}

int cmd_map_by_id(struct call *call)
{
	return by_id(call, KOBJECT_MAP);
}

int cmd_btf_by_id(struct call *call)
{
	int fd;

	if (call->attr.get_id.id != OBJECT_BTF_VMLINUX)
		return by_id(call, KOBJECT_BTF);
	fd = kobject_open(KOBJECT_BTF, OBJECT_BTF_VMLINUX);
	return fd < 0 ? fd : call_reply_fd(call, fd);
}

int cmd_link_by_id(struct call *call)
{
	struct attachment *attachment = attachment_by_id(call->tenant, call->attr.get_id.id);
	int fd;

	if (!attachment)
		return -ENOENT;
	fd = attachment_anchor(attachment);
	attachment_unref(attachment);
	return fd < 0 ? fd : call_reply_fd(call, fd);
}
