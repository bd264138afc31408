/* SPDX-License-Identifier: MIT */
/*
 * Where a user-space probe goes: the steps that perf_event_open() and uprobe_multi links share.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct call;

/**
 * struct probe_file - a probed file, as the caller named it
 * @fd: O_PATH descriptor; owned
 * @kernel_path: path of that descriptor for the kernel to open, whatever the caller's root is
 */
struct probe_file {
	int fd;
	char path[256];
	char kernel_path[32];
};

/**
 * probe_file_open() - read the path at guest address @path_addr and open it as the caller would
 *
 * Return: 0, the -errno the caller would get, or -EPERM with a reason (policy).
 */
int probe_file_open(struct call *call, uint64_t path_addr, struct probe_file *ret_file);
void probe_file_close(struct probe_file *file);

/** probe_semaphore() - @ref_ctr_offset if it is an SDT semaphore of the file, else 0 */
uint64_t probe_semaphore(const struct probe_file *file, uint64_t ref_ctr_offset);

/**
 * probe_scope() - may a kernel breakpoint for every process be put into this file
 *
 * Return: 0, or -EPERM with a reason when the policy keeps breakpoints inside the tenant and a
 * process outside it maps the file.
 */
int probe_scope(struct call *call, const struct probe_file *file);

/**
 * probe_conflict() - that breakpoints of the kernel would not destroy a jump of ours
 * @offsets: of the @cnt breakpoints in the file
 *
 * The kernel goes on behind the instruction that it knows from the file, which is in the middle of
 * a jump that was put over it.
 *
 * Return: 0, or -EBUSY with a reason.
 */
int probe_conflict(struct call *call, const struct probe_file *file, const uint64_t *offsets,
		   uint32_t cnt);

/** probe_foreign_conflict() - the same, but for jumps of this tenant's processes */
int probe_foreign_conflict(struct call *call, const struct probe_file *file,
			   const uint64_t *offsets, uint32_t cnt);

/** probe_is_clean() - whether no process at all has a jump over one of the sites */
bool probe_is_clean(const struct probe_file *file, const uint64_t *offsets, uint32_t cnt);

/**
 * probe_pid() - translate the caller's pid filter
 * @pid: as given; -1 and 0 are kept by the callers of this function
 *
 * Return: pid in our numbering, or -ESRCH for one that is not the tenant's.
 */
int probe_pid(struct call *call, int pid);
