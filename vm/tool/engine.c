/* SPDX-License-Identifier: MIT */
/*
 * Runs one program in a child by one of the engines. What is compiled runs under seccomp's strict
 * mode: it can do nothing but compute and end.
 */
#include "vm/tool/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "vm/interp/interp.h"
#include "vm/jit_orc.h"
#include "vm/jit_unit.h"

#define SECONDS_MAX 10
#define MEMORY_MAX  (4ull << 30) /* bytes of addresses */
#define BUDGET	    (1ull << 28)
/* The suite's own helper, which ends a program if r1 is 0 on some machines, and never on Linux. */
#define HELPER_UNWIND 5

/* What the child leaves behind; shared with it. */
struct outcome {
	int done, error;
	uint64_t r0;
	struct reason reason;
	unsigned char memory[ENGINE_MEMORY_MAX];
};

static uint64_t unwind(struct interp_run *run, const uint64_t args[5])
{
	return args[0];
}

static int run_interp(const struct engine_input *input, uint64_t *ret_r0, struct reason *reason)
{
	static const interp_helper helpers[INTERP_HELPERS] = {[HELPER_UNWIND] = unwind};
	const struct interp_memory memory = {(uint64_t)input->memory, input->memory_len, true};
	const struct interp interp = {
		.budget = BUDGET, .helpers = helpers, .memory = &memory, .memory_cnt = 1};
	const uint64_t args[5] = {(uint64_t)input->memory, input->memory_len};

	return interp_run(&interp, input->insns, input->cnt, args, ret_r0, reason);
}

/* A page of text with the one helper: mov %rdi, %rax; ret. */
#define HELPER_AT   64
#define CODE_OFFSET REGION_CODE
#define CODE_MAX    (4u << 20)

static uint64_t resolve(const char *name, void *data)
{
	return strcmp(name, "rt_ktime_get_ns") == 0 ? HELPER_AT : 0;
}

typedef uint64_t (*entry_fn)(const void *ctx, struct rt_run *run);

/* What is compiled: the program with "r2 = length" before it; .insns is the caller's to free, NULL:
 * out of memory. */
static struct jit_prog compiled(const struct engine_input *input)
{
	struct bpf_insn *insns = malloc((input->cnt + 1ul) * sizeof(*insns));

	if (insns) {
		insns[0] = (struct bpf_insn)INSN_MOV64_IMM(BPF_REG_2, (int32_t)input->memory_len);
		memcpy(insns + 1, input->insns, input->cnt * sizeof(*insns));
	}
	return (struct jit_prog){.insns = insns, .cnt = input->cnt + 1, .tier = JIT_FULL};
}

/* Compiled and laid out as for a target. */
static int run_jit(const struct engine_input *input, uint64_t *ret_r0, struct reason *reason)
{
	const int rw = PROT_READ | PROT_WRITE;
	const struct jit_runtime runtime = {.resolve = resolve};
	const struct jit_prog prog = compiled(input);
	struct rt_run run = {0};
	unsigned char *base;
	struct link_result result;
	int r;

	if (!prog.insns)
		return -ENOMEM;
	r = jit_compile_for(&prog, &runtime, &result, reason);
	if (r == 0)
		r = code_place(result.code, result.len, result.relocs, result.reloc_cnt,
			       CODE_OFFSET, NULL, 0);
	if (r < 0)
		return r;
	base = mmap(NULL, CODE_OFFSET + CODE_MAX, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (base == MAP_FAILED || result.len > CODE_MAX)
		return -ENOMEM;
	memcpy(base + HELPER_AT, "\x48\x89\xf8\xc3", 4);
	memcpy(base + CODE_OFFSET, result.code, result.len);
	if (mprotect(base, CODE_OFFSET + CODE_MAX, PROT_READ | PROT_EXEC) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
		return -errno;
	run.base = base;
	*ret_r0 = ((entry_fn)(base + CODE_OFFSET))(input->memory, &run);
	return 0;
}

static uint64_t helper(uint64_t r1)
{
	return r1;
}

/* The same object by LLVM's own linker. What it allocates ends with the process. */
static int run_orc(const struct engine_input *input, uint64_t *ret_r0, struct reason *reason)
{
	static const struct jit_orc_symbol symbols[] = {{"rt_ktime_get_ns", (const void *)helper}};
	const struct jit_prog prog = compiled(input);
	struct rt_run run = {0};
	struct jit_orc *orc;
	void *entry;
	int r;

	if (!prog.insns)
		return -ENOMEM;
	r = jit_orc_load(&prog, symbols, ARRAY_SIZE(symbols), &orc, &entry, reason);
	if (r < 0)
		return r;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
		return -errno;
	*ret_r0 = ((entry_fn)entry)(input->memory, &run);
	return 0;
}

/*
 * A program of type SYSCALL has its memory as context. All 64 bits of the result come back there,
 * behind the input: a wrapper calls the program as a function.
 */
static int run_kernel(const struct engine_input *input, uint64_t *ret_r0, struct reason *reason)
{
	const uint32_t result_at = (input->memory_len + 7) & ~7u;
	const struct bpf_insn wrapper[] = {
		INSN_MOV64_REG(BPF_REG_6, BPF_REG_1),
		INSN_MOV64_IMM(BPF_REG_2, (int32_t)input->memory_len),
		INSN_CALL_REL(3),
		INSN_STX(BPF_DW, BPF_REG_6, BPF_REG_0, (int16_t)result_at),
		INSN_MOV64_IMM(BPF_REG_0, 0),
		INSN_EXIT(),
	};
	static char log[1 << 16];
	struct bpf_insn *insns = malloc(sizeof(wrapper) + input->cnt * sizeof(*insns));
	unsigned char *ctx = calloc(1, result_at + sizeof(uint64_t));
	union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SYSCALL,
			       .prog_flags = BPF_F_SLEEPABLE,
			       .insn_cnt = (uint32_t)ARRAY_SIZE(wrapper) + input->cnt,
			       .insns = (uintptr_t)insns,
			       .license = (uintptr_t) "Dual MIT/GPL",
			       .log_level = 1,
			       .log_buf = (uintptr_t)log,
			       .log_size = sizeof(log)};
	union bpf_attr test = {0};
	int fd, r;

	if (!insns || !ctx)
		return -ENOMEM;
	memcpy(insns, wrapper, sizeof(wrapper));
	memcpy(insns + ARRAY_SIZE(wrapper), input->insns, input->cnt * sizeof(*insns));
	if (input->memory_len)
		memcpy(ctx, input->memory, input->memory_len);
	fd = sys_bpf(BPF_PROG_LOAD, &load, sizeof(load));
	if (fd < 0)
		return reason_set(reason, fd, "the kernel does not load it: %s; %.400s",
				  strerrordesc_np(-fd), log);
	test.test.prog_fd = (uint32_t)fd;
	test.test.ctx_in = (uintptr_t)ctx;
	test.test.ctx_size_in = result_at + (uint32_t)sizeof(uint64_t);
	r = sys_bpf(BPF_PROG_TEST_RUN, &test, sizeof(test));
	if (r < 0)
		return reason_set(reason, r, "the kernel does not run it: %s", strerrordesc_np(-r));
	memcpy(ret_r0, ctx + result_at, sizeof(*ret_r0));
	return 0;
}

static const struct engine engines[] = {
	{"interp", run_interp},
	{"jit", run_jit},
	{"orc", run_orc},
	{"kernel", run_kernel},
};

const struct engine *engine_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (strcmp(engines[i].name, name) == 0)
			return &engines[i];
	return NULL;
}

static _Noreturn void child(const struct engine *engine, struct engine_input input,
			    struct outcome *outcome)
{
	/* One second from the signal to the end, so that the one is told from being killed. */
	const struct rlimit cpu = {SECONDS_MAX, SECONDS_MAX + 1}, none = {0, 0};
	struct rlimit memory = {0};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_CORE, &none);
	getrlimit(RLIMIT_AS, &memory);
	if (memory.rlim_cur > MEMORY_MAX) {
		memory.rlim_cur = MEMORY_MAX;
		setrlimit(RLIMIT_AS, &memory);
	}
	if (input.memory_len)
		memcpy(outcome->memory, input.memory, input.memory_len);
	input.memory = input.memory_len ? outcome->memory : NULL;
	outcome->error = engine->run(&input, &outcome->r0, &outcome->reason);
	outcome->done = 1;
	/* The one call besides read() and write() that strict mode lets through. */
	syscall(SYS_exit, 0);
	for (;;)
		;
}

static int read_outcome(const struct outcome *outcome, int status, uint64_t *ret_r0,
			struct reason *reason)
{
	const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (!outcome->done && signal == SIGXCPU)
		return reason_set(reason, -ETIMEDOUT, "it did not end within %d seconds",
				  SECONDS_MAX);
	if (!outcome->done && signal == SIGKILL)
		return reason_set(reason, -ENOMEM, "it was killed, maybe for want of memory");
	/* A compiler in want of memory knows no other end. */
	if (!outcome->done && signal == SIGABRT)
		return reason_set(reason, -ENOMEM, "the compiler gave up, out of memory");
	if (!outcome->done)
		return reason_set(reason, -EFAULT, "it died of signal %d (%s)", signal,
				  strsignal(signal));
	if (outcome->error == 0) {
		*ret_r0 = outcome->r0;
		return 0;
	}
	return reason_set(reason, outcome->error, "%s",
			  outcome->reason.text[0] ? outcome->reason.text
						  : strerrordesc_np(-outcome->error));
}

int engine_run(const struct engine *engine, const struct engine_input *input, uint64_t *ret_r0,
	       struct reason *reason)
{
	struct outcome *outcome;
	int status, r;
	pid_t pid;

	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (outcome == MAP_FAILED)
		return reason_set(reason, -ENOMEM, "out of memory");
	pid = fork();
	if (pid == 0)
		child(engine, *input, outcome);
	if (pid < 0) {
		munmap(outcome, sizeof(*outcome));
		return reason_set(reason, -EAGAIN, "no process can be made");
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	r = read_outcome(outcome, status, ret_r0, reason);
	munmap(outcome, sizeof(*outcome));
	return r;
}
