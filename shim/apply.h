/* SPDX-License-Identifier: MIT */
/*
 * Bringing one process to the state that was asked for: the region mapped, each wanted site jumping
 * to its stub, each unwanted one back to its original bytes.
 *
 * Nothing is remembered about processes: what a process has is read from /proc/PID/maps and from
 * its memory each time, so children that inherited patches by fork and processes patched by an
 * earlier daemon are handled alike. What is read there is hostile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/elf_file.h"
#include "base/reason.h"

struct shim_test_run;

/**
 * struct shim_segment - one mapping of the region
 * @offset, @size: in the region (bytes, whole pages)
 * @prot: PROT_*
 * @fd: file, borrowed; -1 for private anonymous memory
 * @ino: of the file, by which a process' mapping of it is known
 * @file_offset: in @fd
 * @wipe_on_fork: MADV_WIPEONFORK (private memory only)
 */
struct shim_segment {
	uint64_t offset, size;
	int prot, fd;
	ino_t ino;
	uint64_t file_offset;
	bool wipe_on_fork;
};

/**
 * struct shim_region - what every target of a tenant maps
 * @segments: what is in use of it; a process that has the region gets what it lacks. The first
 *begins the code file from REGION_TEXT on, by which a process that has the region is recognised
 *(device and inode of its descriptor)
 * @enter, @enter_small: offsets of rt_enter and rt_enter_small (struct region_header)
 * @mapped: number of these segments as a whole, see struct region_config
 * @void_ino: of a file of zeros; mapped privately it stands where an array was, because a thread
 *may still be in a program that uses it. Asked for as the segment at REGION_SIZE
 */
struct shim_region {
	const struct shim_segment *segments;
	uint32_t segment_cnt, mapped;
	uint64_t enter, enter_small;
	ino_t void_ino;
};

/**
 * struct shim_want - one site
 * @dev, @ino: the probed file, as stat() of /proc/PID/map_files/ENTRY shows it
 * @offset: of the probed instruction in that file
 * @site: offset of its struct region_site in the region; 0 to take the patch away
 * @without_returns: the same without return probes, 0 for none: for processes in which a replaced
 *return address would stop exceptions; equal to @site when there are none
 * @original: the bytes of the file at @offset, @original_len of them (8 are enough)
 * @displaced: bytes of whole instructions the jump replaces (>= 5), from shim_site_check()
 * @semaphore: offset in the file of a 16-bit number that is one higher while the jump stands, 0 for
 *	none (USDT; the kernel's ref_ctr_offset)
 * @unwinder: it is the entry of an unwinder (unwind.h): return probes need it
 * @small_stack: its threads' stacks are small: only functions that ask for room are served
 * @check, @check_len: the instructions with which it does, as shim_site_check() finds them; then it
 *	goes on at @check_end, or for more room at @check_target (from the site on)
 */
struct shim_want {
	dev_t dev;
	ino_t ino;
	uint64_t offset, site, without_returns;
	unsigned char original[24];
	uint32_t original_len, displaced;
	uint64_t semaphore;
	bool unwinder, small_stack;
	unsigned char check[16];
	uint32_t check_len, check_end;
	int32_t check_target;
};

enum shim_state {
	SHIM_ABSENT,  /* the process does not map the file there */
	SHIM_DONE,    /* as wanted, in every mapping of the file */
	SHIM_EARLY,   /* the same, but the semaphore's part of the file is not mapped yet */
	SHIM_FAILED,  /* see the reason */
	SHIM_FOREIGN, /* bytes at the site are neither the file's nor our jump: left alone */
};

/**
 * shim_site_check() - whether a jump fits at a site, from the file alone
 * @file: the probed file; what is read goes off its budget
 * @ret_want: @offset and @small_stack set by the caller; @original, @original_len, @displaced,
 *	@check and @check_len are filled in
 *
 * Errors: -EINVAL no code there, -EOPNOTSUPP with a reason that names why the site cannot be
 * patched (room, a branch into it, an instruction that cannot be moved, too much to read).
 */
int shim_site_check(struct elf_file *file, struct shim_want *ret_want, struct reason *reason);

/** enum shim_trait - what a file tells about the programs made of it; bits */
enum shim_trait {
	SHIM_TRAIT_GO = 1,     /* stacks too small for a probe, which move besides: no return
				  probes */
	SHIM_TRAIT_THROWS = 2, /* throws exceptions by code of its own */
};

/** shim_file_traits() - Return: bits of enum shim_trait, or as shim_site_check() */
int shim_file_traits(struct elf_file *file, struct reason *reason);

/** shim_file_error() - Return: @error of an elf_file function, as shim_site_check() would say it */
int shim_file_error(int error, struct reason *reason);

/**
 * struct shim_plan - what a process is to look like
 * @rest, @rest_cnt: other sites, which stay as they are
 * @get_fd_cmd, @get_fd_nonce: arguments of the bpf() call by which the target receives descriptors:
 *	bpf(cmd, segment offset, nonce) as raw arguments; the daemon answers with the segment's file
 * @cgroup_id: what bpf_get_current_cgroup_id() says there
 * @armed_fd: see tracee_stop(), -1 for a process that waits for nothing of ours
 * @cgroup_fd: where processes that share memory are looked for, see tracee_stop()
 * @seccomp_filters: filters every process of the tenant has; one with more may refuse, or die of,
 *the system calls that helpers make
 * @own_filters: not 0 once any process has asked for more; looked at while the target is stopped,
 *and then at every thread, because filters are a thread's; may be NULL
 * @test_run: what a thread that waits for an answer wants run, and gets the result of in the place
 *	of that; NULL: nothing. It needs the region whether or not a site is wanted
 */
struct shim_plan {
	struct shim_region region;
	const struct shim_want *wants, *rest;
	uint32_t want_cnt, rest_cnt;
	int get_fd_cmd;
	uint64_t get_fd_nonce;
	uint64_t cgroup_id;
	uint32_t seccomp_filters;
	const uint64_t *own_filters;
	int armed_fd, cgroup_fd;
	const struct shim_test_run *test_run;
};

/** shim_has_filters() - whether any thread of @pid has more than @limit seccomp filters, or is
 * about to get one; @limit 0: false */
bool shim_has_filters(pid_t pid, uint32_t limit);

/**
 * shim_apply() - stop all threads of @pid for a moment and apply @plan
 * @ret_states: one per want
 *
 * Makes the calling thread the tracer for that time: call it in a child process made for this,
 * whose death lets go of the target. Injects only when at least one site is wanted there.
 *
 * Errors: -ESRCH gone (zombies too), -EPERM somebody else traces it, -EOPNOTSUPP with a reason
 * (seccomp filters of its own, 32-bit, no room near the code), -EIO, -ETIMEDOUT, -EBUSY, -EAGAIN
 * with a reason (not all that run in its memory can be stopped), -ERESTART it is in execve(), or
 * one that shares its memory: do it again once the calling process has ended, which holds that up
 * perhaps; the target runs on unchanged.
 */
int shim_apply(pid_t pid, const struct shim_plan *plan, enum shim_state *ret_states,
	       struct reason *reason);

struct shim_held;

/**
 * shim_apply_hold() - the same, and the process stays stopped; nobody is inside of a program or on
 * the way to one then
 * @ret_held: for shim_let_go(), or NULL when the process has nothing of it
 *
 * Errors: also -EBUSY with a reason: a thread does not leave a program.
 */
int shim_apply_hold(pid_t pid, const struct shim_plan *plan, enum shim_state *ret_states,
		    struct shim_held **ret_held, struct reason *reason);
/** shim_let_go() - it runs on. Accepts NULL. Return: NULL. */
struct shim_held *shim_let_go(struct shim_held *held);

/**
 * shim_lower_semaphores() - lower all USDT semaphores that were raised in a process, without
 * stopping it: for whoever is left when nobody will take its probes away
 *
 * Return: how many.
 */
uint32_t shim_lower_semaphores(pid_t pid);

/**
 * shim_apply_stopped() - the same for a process whose threads all are in ptrace stops of the
 * calling thread already (late targets: one thread, at exec or at the exit of a mapping call)
 * @tid: thread to make the system calls in
 */
int shim_apply_stopped(pid_t pid, pid_t tid, const struct shim_plan *plan,
		       enum shim_state *ret_states, struct reason *reason);
