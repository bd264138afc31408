/* SPDX-License-Identifier: MIT */
/*
 * Identity of kernel objects.
 */
#include "kernel-bridge/kobject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bpf_abi.h"
#include "base/cleanup.h"
#include "base/sys.h"

int kobject_info(int fd, void *info, uint32_t *len)
{
	struct abi_info attr = {.bpf_fd = (uint32_t)fd, .info_len = *len, .info = (uintptr_t)info};
	int r = sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));

	if (r == 0)
		*len = attr.info_len;
	return r;
}

int kobject_identify(int fd, enum kobject_kind *ret_kind, uint32_t *ret_id)
{
	static const struct {
		const char *name;
		enum kobject_kind kind;
	} names[] = {
		{"anon_inode:bpf-map", KOBJECT_MAP},
		{"anon_inode:bpf-prog", KOBJECT_PROG},
		{"anon_inode:btf", KOBJECT_BTF},
		{"anon_inode:bpf_link", KOBJECT_LINK},
		{"anon_inode:bpf-link", KOBJECT_LINK},
		{"anon_inode:[perf_event]", KOBJECT_PERF_EVENT},
		{"anon_inode:bpf_link [perf]", KOBJECT_LINK},
	};
	enum kobject_kind kind = KOBJECT_OTHER;
	char path[40], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(target, names[i].name) == 0)
			kind = names[i].kind;
	if (strncmp(target, "socket:", 7) == 0)
		kind = KOBJECT_SOCKET;
	*ret_kind = kind;
	*ret_id = 0;
	if (kind == KOBJECT_MAP || kind == KOBJECT_PROG || kind == KOBJECT_LINK) {
		/* All three begin with type and id. */
		uint32_t head[2] = {0}, len = sizeof(head);
		int r = kobject_info(fd, head, &len);

		*ret_id = head[1];
		return r;
	}
	if (kind == KOBJECT_BTF) {
		struct bpf_btf_info info = {0};
		uint32_t len = sizeof(info);
		int r = kobject_info(fd, &info, &len);

		*ret_id = info.id;
		return r;
	}
	return 0;
}

int kobject_btf(int btf_fd, void **ret_bytes, uint32_t *ret_len)
{
	struct bpf_btf_info info = {0};
	cleanup_free void *bytes = NULL;
	uint32_t len = sizeof(info), size;
	int r = kobject_info(btf_fd, &info, &len);

	if (r < 0)
		return r;
	if (info.kernel_btf)
		return -EACCES;
	size = info.btf_size;
	bytes = malloc(size ? size : 1);
	if (!bytes)
		return -ENOMEM;
	info = (struct bpf_btf_info){.btf = (uintptr_t)bytes, .btf_size = size};
	len = sizeof(info);
	r = kobject_info(btf_fd, &info, &len);
	if (r < 0)
		return r;
	*ret_bytes = take_ptr(&bytes);
	*ret_len = size;
	return 0;
}

int kobject_btf_fields(int btf_fd, uint32_t type_id, struct btf_fields *ret_fields)
{
	cleanup_free void *bytes = NULL;
	uint32_t len;
	int r = kobject_btf(btf_fd, &bytes, &len);

	return r < 0 ? r : btf_fields(bytes, len, type_id, ret_fields);
}

int kobject_open(enum kobject_kind kind, uint32_t id)
{
	static const int commands[] = {
		[KOBJECT_MAP] = BPF_MAP_GET_FD_BY_ID,
		[KOBJECT_PROG] = BPF_PROG_GET_FD_BY_ID,
		[KOBJECT_BTF] = BPF_BTF_GET_FD_BY_ID,
		[KOBJECT_LINK] = BPF_LINK_GET_FD_BY_ID,
	};
	struct abi_get_id attr = {.id = id};

	return sys_bpf(commands[kind], &attr, sizeof(attr));
}

bool kobject_alive(enum kobject_kind kind, uint32_t id)
{
	int fd = kobject_open(kind, id);

	/* Only a clear "no such id" ends an object: being out of descriptors says nothing. */
	if (fd < 0)
		return fd != -ENOENT;
	close_fd(fd);
	return true;
}

uint32_t kobject_attr_size(void)
{
	static uint32_t found;
	unsigned char attr[512] = {0};

	/* An unknown non-zero byte is E2BIG, before the command is even looked at. */
	for (uint32_t size = 512; !found && size > 112; size--) {
		attr[size - 1] = 1;
		if (sys_bpf(-1, attr, size) != -E2BIG)
			found = size;
		attr[size - 1] = 0;
	}
	return found ? found : 112;
}

/* Only there: bpf_map_show_fdinfo(), kernel/bpf/syscall.c, Linux 6.18. */
bool kobject_is_frozen(int map_fd)
{
	cleanup_free char *text = NULL;
	const char *line;
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map_fd);
	if (read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return false;
	line = strstr(text, "\nfrozen:\t");
	return line && line[sizeof("\nfrozen:\t") - 1] == '1';
}
