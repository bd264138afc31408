/* SPDX-License-Identifier: MIT */
/*
 * The worker: a process without rights in which programs are verified and compiled, so that neither
 * a hostile program nor LLVM can hurt the daemon. One request, one answer, over a SOCK_SEQPACKET
 * pair; the payload travels in memory files.
 *
 * Everything in an answer is hostile: a program may have taken the worker over.
 */
#pragma once

#include <linux/bpf.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/reason.h"
#include "shim/region.h"
#include "verifier/verifier.h"
#include "vm/code.h"

/**
 * enum worker_task
 * @WORKER_VERIFY: verify only
 * @WORKER_LOAD: verify; what is accepted is compiled, fast
 * @WORKER_AGAIN: compile what was accepted before, well; the facts are then the request's
 */
enum worker_task {
	WORKER_VERIFY,
	WORKER_LOAD,
	WORKER_AGAIN,
	WORKER_TASKS
};

/**
 * struct worker_request - a program to check and compile; everything borrowed
 * @prog: as for the verifier
 * @maps: region records of prog.maps, in the same order; where they stand is not said
 * @zero_stack: WORKER_AGAIN: worker_zero_stack() of the first answer
 */
struct worker_request {
	enum worker_task task;
	struct verifier_prog prog;
	const struct region_map *maps;
	uint32_t zero_stack;
	uint32_t log_level;
	uint32_t log_size;
};

/**
 * struct worker_answer - owned by the caller, worker_answer_deinit()
 * @verdict: of verifier_check()
 * @facts: when it is 0
 * @verify_ns: what the verifier took, without compiling and without the way to the worker
 * @log: terminated, at most @log_size bytes; @log_true_size as the kernel would report it
 * @code, @code_len, @relocs, @reloc_cnt: for code_place(); NULL when not compiled; then @no_code says why
 */
struct worker_answer {
	int verdict;
	struct verifier_facts facts;
	uint64_t verify_ns;
	char *log;
	uint32_t log_true_size;
	unsigned char *code;
	size_t code_len;
	struct code_reloc *relocs;
	uint32_t reloc_cnt;
	struct reason no_code;
};

struct worker;

/** worker_zero_stack() - how much of its stack a program has to find zero (bytes); see struct jit_prog */
static inline uint32_t worker_zero_stack(const struct verifier_facts *facts)
{
	return facts->reads_unwritten ? facts->stack_depth : 0;
}

/**
 * worker_new() - a handle; the process is started by the first request or worker_warm()
 * @exe_fd: the worker's executable, borrowed for the handle's life
 * @nice: added to the process' nice value
 */
int worker_new(int exe_fd, int nice, struct worker **ret_worker);
/** worker_stop() - ends the process, from any thread; the request that it is at fails with -EIO. The
 *  next one starts another. */
void worker_stop(struct worker *worker);
/** worker_warm() - start the process if it does not run, without waiting for it */
void worker_warm(struct worker *worker);
/** worker_free() - ends the process. Accepts NULL. Return: NULL. */
struct worker *worker_free(struct worker *worker);

/**
 * worker_ask() - one program; serialised between threads, bounded to @timeout_ms
 *
 * A worker that crashed, hung or was killed costs this request (-EIO, -ETIMEDOUT with a reason) and
 * is replaced at the next one.
 */
int worker_ask(struct worker *worker, const struct worker_request *request, int timeout_ms,
	       struct worker_answer *ret_answer, struct reason *reason);
void worker_answer_deinit(struct worker_answer *answer);
