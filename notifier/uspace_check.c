/* SPDX-License-Identifier: MIT */
/*
 * What a probed file says about its sites, before anything is locked or stopped for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "notifier/uspace_targets.h"
#include "shim/unwind.h"

/* What the file itself rules out. */
static int check_traits(unsigned int traits, bool at_return, struct reason *reason)
{
	if (traits & SHIM_TRAIT_GO && at_return)
		return reason_set(reason, -EOPNOTSUPP,
				  "stacks of Go programs move, and return addresses with them");
	return 0;
}

static int open_file(int file_fd)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* A file that throws by code of its own: its own unwinder must pass return probes. */
static int check_unwinder(struct elf_file *file, struct shim_want *ret_want, struct reason *reason)
{
	int r = shim_unwind_check(file, ret_want, reason);

	if (r == -ENOENT)
		return reason_set(
			reason, -EOPNOTSUPP,
			"exceptions could not pass a probed return of this file: it has no "
			"symbol of the unwinder");
	return r;
}

static int check_file(struct elf_file *file, const uint64_t *offsets, uint32_t cnt, bool at_return,
		      struct uspace_checked *checked, struct reason *reason)
{
	int traits = shim_file_traits(file, reason);
	int r = traits < 0 ? traits : check_traits((unsigned int)traits, at_return, reason);

	if (r == 0 && at_return && traits & SHIM_TRAIT_THROWS)
		r = check_unwinder(file, &checked->unwinder, reason);
	for (uint32_t i = 0; i < cnt && r == 0; i++) {
		checked->wants[i].offset = offsets[i];
		checked->wants[i].small_stack = traits & SHIM_TRAIT_GO;
		r = shim_site_check(file, &checked->wants[i], reason);
	}
	return r;
}

int uspace_check(int file_fd, const uint64_t *offsets, uint32_t cnt, bool at_return,
		 struct uspace_checked *ret_checked, struct reason *reason)
{
	struct uspace_checked checked = {.wants = calloc(cnt, sizeof(*checked.wants))};
	cleanup_fd int fd = open_file(file_fd);
	struct elf_file file;
	struct stat st;
	int r;

	if (!checked.wants)
		return -ENOMEM;
	r = fd < 0 ? fd : fstat(fd, &st) < 0 ? -errno : 0;
	if (r == 0)
		r = shim_file_error(elf_file_open(&file, fd, ELF_FILE_BUDGET), reason);
	if (r == 0) {
		r = check_file(&file, offsets, cnt, at_return, &checked, reason);
		elf_file_close(&file);
	}
	if (r < 0) {
		free(checked.wants);
		return r;
	}
	checked.unwinder.unwinder = true;
	checked.unwinder.dev = st.st_dev;
	checked.unwinder.ino = st.st_ino;
	for (uint32_t i = 0; i < cnt; i++) {
		checked.wants[i].dev = st.st_dev;
		checked.wants[i].ino = st.st_ino;
	}
	*ret_checked = checked;
	return 0;
}
