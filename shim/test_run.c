/* SPDX-License-Identifier: MIT */
/*
 * See test_run.h. The thread gets a stack for it: its own may be a small one.
 */
#include "shim/test_run.h"

#include <asm/ptrace.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <string.h>

#include "shim/tracee.h"

#define STACK_SIZE 0x10000ull
#define RUN_MS	   10000

/* Where the thread asks, as a probe there would see it. */
static void show_regs(const struct user_regs_struct *from, struct pt_regs *to)
{
	*to = (struct pt_regs){
		.r15 = from->r15,
		.r14 = from->r14,
		.r13 = from->r13,
		.r12 = from->r12,
		.rbp = from->rbp,
		.rbx = from->rbx,
		.r11 = from->r11,
		.r10 = from->r10,
		.r9 = from->r9,
		.r8 = from->r8,
		.rax = from->rax,
		.rcx = from->rcx,
		.rdx = from->rdx,
		.rsi = from->rsi,
		.rdi = from->rdi,
		.orig_rax = from->orig_rax,
		.rip = from->rip,
		.cs = from->cs,
		.eflags = from->eflags,
		.rsp = from->rsp,
		.ss = from->ss,
	};
}

/* With the thread's own right to write, not with ours. */
static int give(pid_t tid, uint64_t address, uint32_t value)
{
	struct iovec local = {&value, sizeof(value)}, remote = {(void *)address, sizeof(value)};

	return process_vm_writev(tid, &local, 1, &remote, 1, 0) == sizeof(value) ? 0 : -EFAULT;
}

static int run_on(struct tracee *tracee, uint64_t base, uint64_t stack,
		  const struct shim_test_run *run, struct reason *reason)
{
	const uint64_t at = (stack + STACK_SIZE - sizeof(struct region_test_run)) & ~63ull;
	struct region_test_run test = {
		.frame = tracee_rescue_sp(tracee), .code = run->code, .cpu = run->cpu};
	struct pt_regs regs;
	int r;

	show_regs(&tracee->threads[tracee->caller].regs, &regs);
	memcpy(test.regs, &regs, sizeof(test.regs));
	memcpy(test.ctx, run->ctx, sizeof(test.ctx));
	r = tracee_write(tracee, at, &test, sizeof(test));
	if (r == 0)
		r = tracee_run(tracee, base + run->enter, at, at, base + run->end, RUN_MS);
	if (r == -ETIMEDOUT)
		return reason_set(reason, -EINTR, "the program has not ended after %d s",
				  RUN_MS / 1000);
	if (r == 0)
		r = tracee_read(tracee, at, &test, sizeof(test));
	if (r < 0)
		return r;
	return test.error < 0 ? -EBUSY : give(run->tid, run->retval_at, (uint32_t)test.retval);
}

int shim_test_run(struct tracee *tracee, uint64_t base, const struct shim_test_run *run,
		  struct reason *reason)
{
	const uint64_t map[6] = {0,
				 STACK_SIZE,
				 PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				 (uint64_t)-1,
				 0};
	uint64_t unmap[6] = {0, STACK_SIZE};
	int64_t stack, unused;
	int r = tracee_syscall(tracee, SYS_mmap, map, &stack);

	if (r == 0 && stack < 0)
		r = -ENOMEM;
	if (r < 0)
		return r;
	r = run_on(tracee, base, (uint64_t)stack, run, reason);
	unmap[0] = (uint64_t)stack;
	if (r != -ESRCH)
		tracee_syscall(tracee, SYS_munmap, unmap, &unused);
	return r;
}
