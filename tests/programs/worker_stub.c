/* SPDX-License-Identifier: MIT */
/*
 * A verifier for tests of the worker: it believes everything and, when asked for it, does what a
 * program that took the worker over would try; so does the compiler when it is to make good code, if
 * the first instruction's constant says so. Only ever linked into worker-stub.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/programs/worker_modes.h"
#include "verifier/verifier.h"
#include "vm/jit_unit.h"

static uint64_t no_helpers(const char *name, void *data)
{
	return 0;
}

static int eat(void)
{
	/* Volatile, or the compiler sees that nobody wants it. */
	char *volatile block;
	size_t eaten = 0;

	while (eaten < (4ull << 30) && (block = malloc(1 << 20))) {
		memset(block, 1, 1 << 20);
		eaten += 1 << 20;
	}
	return eaten < (4ull << 30) ? -ENOMEM : 0;
}

static void misbehave(uint32_t mode)
{
	void *page;

	switch (mode) {
	case STUB_HANG:
		for (volatile int i = 0;; i = !i)
			;
	case STUB_CRASH:
		__builtin_trap();
	case STUB_OPEN:
		open("/", O_RDONLY);
		break;
	case STUB_SOCKET:
		socket(AF_UNIX, SOCK_STREAM, 0);
		break;
	case STUB_EXEC:
		execl("/bin/true", "true", NULL);
		break;
	case STUB_FORK:
		fork();
		break;
	case STUB_PTRACE:
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		break;
	case STUB_KILL:
		kill(1, 0);
		break;
	case STUB_MAP_CODE:
		page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		(void)page;
		break;
	case STUB_PROTECT_CODE:
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		mprotect(page, 4096, PROT_READ | PROT_EXEC);
		break;
	case STUB_SEND_ELSEWHERE:
		sendmsg(4, &(struct msghdr){0}, 0);
		break;
	case STUB_PRCTL:
		prctl(PR_SET_DUMPABLE, 1);
		break;
	}
}

int jit_compile(const struct jit_prog *prog, struct link_result *ret_result, struct reason *reason)
{
	const struct jit_runtime runtime = {.resolve = no_helpers};
	const uint32_t mode = (uint32_t)prog->insns[0].imm - STUB_COMPILER;

	if (prog->tier == JIT_FULL)
		misbehave(mode);
	if (prog->tier == JIT_FULL && mode == STUB_EAT && eat() < 0)
		return -ENOMEM;
	return jit_compile_for(prog, &runtime, ret_result, reason);
}

/* Of what a map holds for ever; -1 if that is not known. */
static int first_byte(const struct verifier_prog *prog, uint32_t map)
{
	return map < prog->map_cnt && prog->maps[map].contents ? prog->maps[map].contents[0] : -1;
}

int verifier_check(const struct verifier_prog *prog, struct verifier_log *log,
		   struct verifier_facts *ret_facts)
{
	misbehave(prog->type);
	if (log->size)
		log->len = 1 + (uint32_t)snprintf(log->buf, log->size,
						  "type %u attach %u gpl %d insns %u maps %u "
						  "value %u holds %d %d\n",
						  prog->type, prog->attach_type, prog->gpl,
						  prog->cnt, prog->map_cnt,
						  prog->map_cnt ? prog->maps[0].value_size : 0,
						  first_byte(prog, 0), first_byte(prog, 1));
	if (prog->type == STUB_EAT)
		return eat();
	if (prog->type != STUB_ACCEPT)
		return -EACCES;
	*ret_facts = (struct verifier_facts){
		.helpers = {1, 2, 3, 4},
		.maps = prog->map_cnt ? 1 : 0,
		.stack_depth = 8,
		.processed = prog->cnt,
		.uses_percpu = true,
		.kernel_only = prog->attach_type ? 5 : 0,
	};
	return 0;
}
