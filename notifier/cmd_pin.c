/* SPDX-License-Identifier: MIT */
/*
 * Pins. The tenant's own bpffs holds them. Maps and programs the tenant really holds, so the kernel
 * pins them with the caller's rights; of a link it holds an anchor, so we pin the real one with the
 * caller's file system identity, and give an anchor again when it is opened.
 */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/attachment.h"
#include "notifier/call.h"
#include "notifier/commands.h"
#include "notifier/place.h"

#define ABI_F_PATH_FD (1u << 14) /* BPF_F_PATH_FD, Linux 6.5 */

static int check_bpffs(int fd)
{
	struct statfs fs;

	/* What the kernel says of any other file system: bpf_obj_do_pin(), kernel/bpf/inode.c. */
	return fstatfs(fd, &fs) == 0 && fs.f_type == BPF_FS_MAGIC ? 0 : -EPERM;
}

/* BPF_OBJ_PIN or BPF_OBJ_GET at a path below one of our descriptors, as the caller. */
static int obj_at(struct call *call, int cmd, int at, const char *name, int bpf_fd)
{
	char path[PATH_MAX + 32];
	struct abi_obj_path attr = {.pathname = (uintptr_t)path,
				    .bpf_fd = (uint32_t)bpf_fd,
				    .file_flags = call->attr.obj_path.file_flags};
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d%s%s", at, name ? "/" : "", name ? name : "");
	r = guest_assume(&call->guest);
	if (r < 0)
		return r;
	r = sys_bpf(cmd, &attr, offsetof(struct abi_obj_path, path_fd));
	guest_resume();
	return r;
}

/* A pin keeps the link alive without any descriptor of ours or the tenant's: it stays in the tables
 * until the kernel has it no more. */
static int remember_pinned(struct tenant *tenant, const struct attachment *link)
{
	cleanup_free struct attachment_facts *facts = malloc(sizeof(*facts));
	struct object *object;
	int r = 0;

	if (!facts)
		return -ENOMEM;
	pthread_mutex_lock(&tenant->lock);
	if (!object_by_real_id(&tenant->table, KOBJECT_LINK, link->real_id)) {
		r = object_add(&tenant->table, KOBJECT_LINK, link->real_id, &object);
		if (r == 0) {
			*facts = link->facts;
			object->id = link->id;
			object->size = link->facts.weight;
			object->link = take_ptr(&facts);
		}
	}
	pthread_mutex_unlock(&tenant->lock);
	if (r == 0)
		tenant_watch_objects(tenant);
	return r;
}

/* Cut @path before its last component. Return: the directory. */
static const char *split(char *path, const char **ret_name)
{
	char *slash = strrchr(path, '/');

	if (!slash) {
		*ret_name = path;
		return ".";
	}
	*ret_name = slash + 1;
	*slash = '\0';
	return slash == path ? "/" : path;
}

static int pin_link(struct call *call, const struct attachment *link)
{
	const char *parent, *name;
	char path[PATH_MAX];
	cleanup_fd int dir = -1;
	ssize_t len;
	int r;

	len = guest_read_string(&call->guest, call->attr.obj_path.pathname, path, sizeof(path));
	if (len < 0)
		return (int)len;
	if (call->attr.obj_path.file_flags)
		return -EINVAL;
	if (!path[0])
		return -ENOENT;
	parent = split(path, &name);
	dir = guest_open_path(&call->guest, parent);
	if (dir < 0)
		return dir;
	/* What has a slash behind it would be a directory, which a pin is not. */
	if (!name[0])
		return -EEXIST;
	r = check_bpffs(dir);
	/* A pin keeps what the kernel has. */
	if (r == 0 && link->user && place_move(call, &(struct place_cause){.link = link}) < 0)
		r = -EPERM;
	/* Before it is there: whoever opens it finds what to tell of it. */
	if (r == 0)
		r = remember_pinned(call->tenant, link);
	return r < 0 ? r : obj_at(call, BPF_OBJ_PIN, dir, name, link->real_fd);
}

int cmd_obj_pin(struct call *call)
{
	cleanup_fd int fd = guest_get_fd(&call->guest, (int)call->attr.obj_path.bpf_fd);
	struct attachment *attachment;
	int r;

	if (fd < 0)
		return fd;
	attachment = attachment_by_fd(call->tenant, fd);
	if (!attachment)
		return CALL_CONTINUE;
	r = attachment->kind == ATTACHMENT_LINK ? pin_link(call, attachment) : -EINVAL;
	attachment_unref(attachment);
	return r;
}

/*
 * @fd: the kernel's link, taken over. The attachment that holds it, with a reference; a new one
 * when only the pin had kept it alive. Two callers that open it at once get the same.
 */
static int adopt_link(struct call *call, int fd, uint32_t real_id, struct attachment **ret_link)
{
	struct tenant *tenant = call->tenant;
	struct attachment *made, *found;
	struct object *pinned = NULL;
	int r = attachment_new(tenant, ATTACHMENT_LINK, fd, &made);

	if (r < 0)
		return r;
	pthread_mutex_lock(&tenant->lock);
	found = attachment_by_real_id(tenant, real_id);
	if (found)
		found->refs++;
	else
		pinned = object_by_real_id(&tenant->table, KOBJECT_LINK, real_id);
	if (pinned) {
		made->id = pinned->id;
		made->real_id = real_id;
		made->facts = *pinned->link;
		list_append(&tenant->attachments, &made->node);
		found = take_ptr(&made);
	}
	pthread_mutex_unlock(&tenant->lock);
	attachment_unref(made);
	if (!found)
		return reason_set(&call->reason, -EPERM, "the pin is of a link of somebody else");
	*ret_link = found;
	return 0;
}

/* Answer with an anchor. @fd: as above. */
static int reply_link(struct call *call, int fd, uint32_t real_id)
{
	struct attachment *link = NULL;
	int anchor, r = adopt_link(call, fd, real_id, &link);

	if (r < 0)
		return r;
	anchor = attachment_anchor(link);
	attachment_unref(link);
	return anchor < 0 ? anchor : call_reply_fd(call, anchor);
}

int cmd_obj_get(struct call *call)
{
	cleanup_fd int pin = -1, fd = -1;
	char path[PATH_MAX];
	enum kobject_kind kind;
	uint32_t real_id;
	ssize_t len;
	int r;

	if (call->attr.obj_path.bpf_fd || call->attr.obj_path.path_fd)
		return -EINVAL;
	if (call->attr.obj_path.file_flags & ABI_F_PATH_FD)
		return reason_set(&call->reason, -EINVAL,
				  "paths that begin at a descriptor are not served");
	len = guest_read_string(&call->guest, call->attr.obj_path.pathname, path, sizeof(path));
	if (len < 0)
		return (int)len;
	pin = guest_open_path(&call->guest, path);
	if (pin < 0)
		return pin;
	if (check_bpffs(pin) < 0)
		return -EACCES;
	fd = obj_at(call, BPF_OBJ_GET, pin, NULL, 0);
	if (fd < 0)
		return fd;
	r = kobject_identify(fd, &kind, &real_id);
	if (r < 0)
		return r;
	if (kind == KOBJECT_LINK)
		return reply_link(call, take_fd(&fd), real_id);
	return call_reply_fd(call, take_fd(&fd));
}
