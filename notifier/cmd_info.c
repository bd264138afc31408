/* SPDX-License-Identifier: MIT */
/*
 * What an object says about itself, with the tenant's numbers and without the kernel's addresses.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/attachment.h"
#include "notifier/call.h"
#include "notifier/commands.h"

#define INFO_MAX	    512
#define MAP_IDS_MAX	    1024
#define LINK_HEAD	    12 /* type, id, prog_id of struct bpf_link_info */
#define LINK_UNION	    16
#define LINK_RAW_TP	    1 /* BPF_LINK_TYPE_* */
#define LINK_PERF	    7
#define LINK_KPROBE_MULTI   8
#define LINK_UPROBE_MULTI   12
#define MULTI_PID	    (LINK_UNION + 44) /* uprobe_multi.pid, behind four pointers and counts */
#define PERF_INFO_UPROBE    1u		      /* BPF_PERF_EVENT_* */
#define PERF_INFO_URETPROBE 2u
#define PERF_INFO_KPROBE    3u
#define PERF_INFO_KRETPROBE 4u

/* struct bpf_link_info, perf_event part for user probes: include/uapi/linux/bpf.h, Linux 6.6. */
struct link_info_perf {
	uint32_t type, pad;
	uint64_t name;
	uint32_t name_len, offset;
	uint64_t cookie, ref_ctr;
};

/* The same of a uprobe_multi link: Linux 6.8. */
struct link_info_multi {
	uint64_t path, offsets, ref_ctrs, cookies;
	uint32_t path_size, count, flags, pid;
};
static_assert(LINK_UNION + offsetof(struct link_info_multi, pid) == MULTI_PID, "bpf_link_info");

static uint32_t visible_id(struct tenant *tenant, enum kobject_kind kind, uint32_t real_id)
{
	struct object *object;
	uint32_t id = 0;

	if (kind == KOBJECT_BTF && real_id == OBJECT_BTF_VMLINUX)
		return OBJECT_BTF_VMLINUX;
	pthread_mutex_lock(&tenant->lock);
	object = object_by_real_id(&tenant->table, kind, real_id);
	if (object)
		id = object->id;
	pthread_mutex_unlock(&tenant->lock);
	return id;
}

/* Copy out at most what the guest has room for and say how much that was. */
static int info_reply(struct call *call, const void *info, uint32_t len)
{
	uint32_t room = call->attr.info.info_len;
	int r;

	/* The kernel's is as long as @len; a newer tool may have more. */
	r = room > len ? guest_zero(&call->guest, call->attr.info.info + len, room - len) : 0;
	if (r < 0)
		return r;
	if (len > room)
		len = room;
	r = guest_write(&call->guest, call->attr.info.info, info, len);
	return r < 0 ? r
		     : call_write_attr(call, offsetof(struct abi_info, info_len), &len,
				       sizeof(len));
}

/* Flags the tool did not ask for: arrays are made so that targets can map them. */
static void hide_flags(struct tenant *tenant, struct bpf_map_info *info)
{
	const struct object *object;

	pthread_mutex_lock(&tenant->lock);
	object = object_by_real_id(&tenant->table, KOBJECT_MAP, info->id);
	if (object)
		info->map_flags &= ~object->hidden_flags;
	pthread_mutex_unlock(&tenant->lock);
}

static int info_map(struct call *call, int fd)
{
	unsigned char room[INFO_MAX] = {0};
	struct bpf_map_info *info = (void *)room;
	uint32_t len = sizeof(room);
	int r = kobject_info(fd, room, &len);

	if (r < 0)
		return r;
	hide_flags(call->tenant, info);
	info->id = visible_id(call->tenant, KOBJECT_MAP, info->id);
	if (info->btf_id)
		info->btf_id = visible_id(call->tenant, KOBJECT_BTF, info->btf_id);
	return info_reply(call, room, len);
}

/* Program: the guest's own buffer for map ids is served, those for code and addresses are not. */
static int info_prog(struct call *call, int fd)
{
	unsigned char room[INFO_MAX] = {0};
	struct bpf_prog_info *info = (void *)room, asked = {0};
	uint32_t len = sizeof(room), ids[MAP_IDS_MAX], in_len = call->attr.info.info_len, count;
	int r;

	if (in_len > sizeof(asked))
		in_len = sizeof(asked);
	r = guest_read(&call->guest, call->attr.info.info, &asked, in_len);
	if (r < 0)
		return r;
	info->nr_map_ids = asked.nr_map_ids < MAP_IDS_MAX ? asked.nr_map_ids : MAP_IDS_MAX;
	info->map_ids = info->nr_map_ids ? (uintptr_t)ids : 0;
	count = info->nr_map_ids;
	r = kobject_info(fd, room, &len);
	if (r < 0)
		return r;
	if (info->nr_map_ids < count)
		count = info->nr_map_ids;
	for (uint32_t i = 0; i < count; i++)
		ids[i] = visible_id(call->tenant, KOBJECT_MAP, ids[i]);
	r = guest_write(&call->guest, asked.map_ids, ids, asked.map_ids ? count * 4 : 0);
	if (r < 0)
		return r;
	info->id = visible_id(call->tenant, KOBJECT_PROG, info->id);
	if (info->btf_id)
		info->btf_id = visible_id(call->tenant, KOBJECT_BTF, info->btf_id);
	info->map_ids = asked.map_ids;
	/* A caller without CAP_BPF gets no dumps; zero lengths say so, as the kernel does. */
	if (asked.jited_prog_len)
		info->jited_prog_len = 0;
	if (asked.xlated_prog_len)
		info->xlated_prog_len = 0;
	info->nr_jited_ksyms = info->nr_jited_func_lens = 0;
	info->nr_func_info = info->nr_line_info = info->nr_jited_line_info = info->nr_prog_tags = 0;
	info->jited_prog_insns = asked.jited_prog_insns;
	info->xlated_prog_insns = asked.xlated_prog_insns;
	return info_reply(call, room, len);
}

static int info_btf(struct call *call, int fd, uint32_t real_id)
{
	struct bpf_btf_info info = {0}, asked = {0};
	uint32_t len = sizeof(info), in_len = call->attr.info.info_len;
	cleanup_free void *data = NULL;
	char name[64] = "";
	int r;

	/* The kernel's own BTF needs no translation, and is megabytes. */
	if (real_id == OBJECT_BTF_VMLINUX)
		return CALL_CONTINUE;
	if (in_len > sizeof(asked))
		in_len = sizeof(asked);
	r = guest_read(&call->guest, call->attr.info.info, &asked, in_len);
	if (r < 0)
		return r;
	info.name = (uintptr_t)name;
	info.name_len = sizeof(name);
	r = kobject_info(fd, &info, &len);
	if (r < 0)
		return r;
	if (asked.btf_size) {
		uint32_t full = info.btf_size;

		r = call_alloc(call, full, &data);
		if (r < 0)
			return r;
		info = (struct bpf_btf_info){.btf = (uintptr_t)data, .btf_size = full};
		len = sizeof(info);
		r = kobject_info(fd, &info, &len);
		if (r == 0)
			r = guest_write(&call->guest, asked.btf, data,
					asked.btf_size < full ? asked.btf_size : full);
		if (r < 0)
			return r;
	}
	info.id = visible_id(call->tenant, KOBJECT_BTF, info.id);
	info.btf = asked.btf;
	info.name = asked.name;
	info.name_len = 0;
	return info_reply(call, &info, len);
}

/* User probes: give the path the tool asked for instead of the one the kernel was given. */
static int info_link_name(struct call *call, const struct attachment *link, bool raw,
			  unsigned char *room)
{
	uint64_t addr = 0;
	uint32_t space = 0, len = (uint32_t)strlen(link->facts.target) + 1;
	uint32_t at = LINK_UNION + (raw ? 0 : (uint32_t)offsetof(struct link_info_perf, name));
	int r;

	if (call->attr.info.info_len < at + 12)
		return 0;
	r = guest_read(&call->guest, call->attr.info.info + at, &addr, sizeof(addr));
	if (r == 0)
		r = guest_read(&call->guest, call->attr.info.info + at + 8, &space, sizeof(space));
	if (r < 0)
		return r;
	if ((addr == 0) != (space == 0))
		return -EINVAL;
	memcpy(room + at, &addr, sizeof(addr));
	memcpy(room + at + 8, &len, sizeof(len));
	if (!addr)
		return 0;
	if (space >= len)
		return guest_write(&call->guest, addr, link->facts.target, len);
	return -ENOSPC;
}

/* What the kernel would say of a user probe's link. Source: bpf_perf_link_fill_link_info(), kernel/
 * bpf/syscall.c, Linux 6.18. */
static int info_link_user(const struct attachment *link, unsigned char *room, uint32_t *ret_len)
{
	const uint32_t type = link->facts.multi ? LINK_UPROBE_MULTI : LINK_PERF;
	const struct link_info_multi multi = {.count = link->facts.weight,
					      .flags = link->facts.flags,
					      .pid = link->facts.pid};
	const struct link_info_perf perf = {.type = link->facts.fd_type == BPF_FD_TYPE_URETPROBE
							    ? PERF_INFO_URETPROBE
							    : PERF_INFO_UPROBE,
					    .offset = (uint32_t)link->facts.offset};

	memcpy(room, &type, sizeof(type));
	if (link->facts.multi) {
		memcpy(room + LINK_UNION, &multi, sizeof(multi));
		*ret_len = LINK_UNION + sizeof(multi);
		return 0;
	}
	memcpy(room + LINK_UNION, &perf, sizeof(perf));
	*ret_len = LINK_UNION + sizeof(perf);
	return 0;
}

static int info_link(struct call *call, const struct attachment *link)
{
	unsigned char room[INFO_MAX] = {0};
	uint32_t len = sizeof(room), type, perf, pid;
	int r = link->user ? info_link_user(link, room, &len)
			   : kobject_info(link->real_fd, room, &len);

	if (r < 0)
		return r;
	memcpy(&type, room, sizeof(type));
	memcpy(&perf, room + LINK_UNION, sizeof(perf));
	memcpy(&pid, room + MULTI_PID, sizeof(pid));
	memcpy(room + 4, &link->id, sizeof(link->id));
	memcpy(room + 8, &link->facts.prog_id, sizeof(link->facts.prog_id));
	/* The kernel's word decides what it wrote, not our memory of the link: addresses of kprobes
	 * are none of the tenant's business. */
	if (type == LINK_KPROBE_MULTI ||
	    (type == LINK_PERF && (perf == PERF_INFO_KPROBE || perf == PERF_INFO_KRETPROBE)))
		memset(room + LINK_UNION + 4, 0, sizeof(room) - LINK_UNION - 4);
	if (type == LINK_UPROBE_MULTI && pid)
		memcpy(room + MULTI_PID, &link->facts.pid, sizeof(pid));
	if (type == LINK_RAW_TP ||
	    (type == LINK_PERF && (perf == PERF_INFO_UPROBE || perf == PERF_INFO_URETPROBE))) {
		r = info_link_name(call, link, type == LINK_RAW_TP, room);
		if (r < 0)
			return r;
	}
	return info_reply(call, room, len);
}

int cmd_info(struct call *call)
{
	cleanup_fd int fd = guest_get_fd(&call->guest, (int)call->attr.info.bpf_fd);
	struct attachment *attachment;
	enum kobject_kind kind;
	uint32_t real_id;
	int r;

	if (fd < 0) /* the one command that says it this way */
		return fd == -EBADF ? -EBADFD : fd;
	if (call->attr.info.info_len > 4096)
		return -E2BIG;
	attachment = attachment_by_fd(call->tenant, fd);
	if (attachment) {
		r = attachment->kind == ATTACHMENT_LINK ? info_link(call, attachment) : -EINVAL;
		attachment_unref(attachment);
		return r;
	}
	r = kobject_identify(fd, &kind, &real_id);
	if (r < 0)
		return r;
	switch (kind) {
	case KOBJECT_MAP:
		return info_map(call, fd);
	case KOBJECT_PROG:
		return info_prog(call, fd);
	case KOBJECT_BTF:
		return info_btf(call, fd, real_id);
	default:
		return -EINVAL;
	}
}

/* Which attachment descriptor @fd of process @host_pid stands for, with a reference. */
static int query_attachment(struct call *call, int host_pid, int fd, struct attachment **ret)
{
	cleanup_fd int pidfd = sys_pidfd_open(host_pid, 0), copy = -1;

	if (pidfd < 0)
		return -ENOENT;
	copy = sys_pidfd_getfd(pidfd, fd);
	if (copy < 0)
		return -EBADF;
	*ret = attachment_by_fd(call->tenant, copy);
	return *ret ? 0 : -ABI_ENOTSUPP;
}

int cmd_task_fd_query(struct call *call)
{
	struct abi_task_fd_query attr = call->attr.task_fd_query;
	const uint32_t buf_len_at = offsetof(struct abi_task_fd_query, buf_len);
	const uint32_t prog_at = offsetof(struct abi_task_fd_query, prog_id);
	struct attachment *attachment;
	uint32_t len;
	int r, pid;

	if (attr.flags)
		return -EINVAL;
	pid = guest_pid_to_host(&call->guest, (pid_t)attr.pid);
	if (pid < 0 || !tenant_has_pid(call->tenant, pid))
		return -ENOENT;
	r = query_attachment(call, pid, (int)attr.fd, &attachment);
	if (r < 0)
		return r;
	len = (uint32_t)strlen(attachment->facts.target);
	attr.prog_id = attachment->facts.prog_id;
	attr.fd_type = attachment->facts.fd_type;
	attr.probe_offset = attachment->facts.offset;
	attr.probe_addr = 0;
	r = 0;
	if (attr.buf && attr.buf_len) {
		uint32_t copy = len < attr.buf_len ? len + 1 : attr.buf_len;
		char name[sizeof(attachment->facts.target)];

		memcpy(name, attachment->facts.target, sizeof(name));
		name[copy - 1] = '\0';
		r = guest_write(&call->guest, attr.buf, name, copy);
		if (r == 0 && copy <= len)
			r = -ENOSPC;
	}
	attachment_unref(attachment);
	if (r < 0 && r != -ENOSPC)
		return r;
	if (call_write_attr(call, buf_len_at, &len, sizeof(len)) < 0 ||
	    call_write_attr(call, prog_at, &attr.prog_id, sizeof(attr) - prog_at) < 0)
		return -EFAULT;
	return r;
}
