/* SPDX-License-Identifier: MIT */
/*
 * bpfshim-worker: verifies and compiles programs for the daemon, which started it with a socket as
 * descriptor 3. It takes requests one by one until the socket closes. See worker.h for why it is a
 * process of its own, worker_sandbox.c for what it can do, worker_proto.h for what it is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "verifier/verifier.h"
#include "verifier/worker.h"
#include "verifier/worker_proto.h"
#include "verifier/worker_sandbox.h"
#include "vm/jit.h"

/**
 * struct job - one request under way
 * @request, @answer: the two files, mapped
 * @zero_stack: see struct jit_prog
 */
struct job {
	struct worker_wire_request wire;
	struct worker_layout layout;
	const unsigned char *request;
	unsigned char *answer;
	uint32_t zero_stack;
	struct worker_wire_answer reply;
};

/* LLVM reads its tables and the dynamic linker its libraries while there still are files. */
static int warm_up(void)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct jit_prog prog = {.insns = insns, .cnt = ARRAY_SIZE(insns)};
	struct link_result result;
	struct reason reason;
	int r = 0;

	for (prog.tier = JIT_FAST; prog.tier <= JIT_FULL && r == 0; prog.tier++) {
		r = jit_compile(&prog, &result, &reason);
		if (r == 0)
			link_result_deinit(&result);
	}
	return r;
}

/* When memory runs out, this process goes and not the daemon. */
static void offer_to_oom_killer(void)
{
	write_file(AT_FDCWD, "/proc/self/oom_score_adj", "1000");
}

/* Return: the message's two files, or -1 at the end of the socket and for anything odd. */
static int receive(struct worker_wire_request *ret_wire, int ret_fds[2])
{
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {ret_wire, sizeof(*ret_wire)};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	const struct cmsghdr *cmsg;
	ssize_t n;

	do
		n = recvmsg(WORKER_SOCKET, &message, 0);
	while (n < 0 && errno == EINTR);
	cmsg = CMSG_FIRSTHDR(&message);
	if (n != sizeof(*ret_wire) || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !cmsg ||
	    cmsg->cmsg_type != SCM_RIGHTS || cmsg->cmsg_len != CMSG_LEN(2 * sizeof(int)))
		return -1;
	memcpy(ret_fds, CMSG_DATA(cmsg), 2 * sizeof(int));
	return 0;
}

static void *map_file(int fd, size_t size, int prot)
{
	void *memory = MAP_FAILED;

	/* A file that is too short would be found out by a signal. */
	if (lseek(fd, 0, SEEK_END) >= (off_t)size)
		memory =
			mmap(NULL, size, prot, prot & PROT_WRITE ? MAP_SHARED : MAP_PRIVATE, fd, 0);
	close(fd);
	return memory == MAP_FAILED ? NULL : memory;
}

static int begin(struct job *job)
{
	int fds[2];

	if (receive(&job->wire, fds) < 0)
		return -1;
	if (job->wire.magic != WORKER_MAGIC || job->wire.task >= WORKER_TASKS ||
	    worker_layout(&job->wire, &job->layout) < 0)
		return -1;
	/* An empty mapping is an error, and an empty program the verifier's business. */
	job->request = map_file(fds[0], job->layout.request_size + 1, PROT_READ);
	job->answer = map_file(fds[1], job->layout.answer_size, PROT_READ | PROT_WRITE);
	return job->request && job->answer ? 0 : -1;
}

static void finish(struct job *job)
{
	munmap((void *)job->request, job->layout.request_size + 1);
	munmap(job->answer, job->layout.answer_size);
}

/* Maps with their contents where they are here. Return: false for places that are none. */
static bool find_contents(const struct job *job, struct verifier_map *maps)
{
	memcpy(maps, job->request + job->layout.maps, job->wire.map_cnt * sizeof(*maps));
	for (uint32_t i = 0; i < job->wire.map_cnt; i++) {
		uint64_t place = (uintptr_t)maps[i].contents;

		if (!place)
			continue;
		if (place > job->wire.contents_size ||
		    maps[i].value_size > job->wire.contents_size - (place - 1))
			return false;
		maps[i].contents = job->request + job->layout.contents + place - 1;
	}
	return true;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void verify(struct job *job)
{
	struct verifier_map maps[VERIFIER_MAPS_MAX];
	const struct verifier_prog prog = {
		.insns = (const void *)(job->request + job->layout.insns),
		.cnt = job->wire.insn_cnt,
		.type = job->wire.type,
		.attach_type = job->wire.attach_type,
		.gpl = job->wire.gpl,
		.sleepable = job->wire.sleepable,
		.maps = maps,
		.map_cnt = job->wire.map_cnt,
		.info = {.btf = job->request + job->layout.btf,
			 .btf_len = job->wire.btf_len,
			 .funcs = {job->request + job->layout.funcs, job->wire.func_cnt,
				   job->wire.func_size},
			 .lines = {job->request + job->layout.lines, job->wire.line_cnt,
				   job->wire.line_size}},
	};
	struct verifier_log log = {
		.level = job->wire.log_size ? job->wire.log_level : 0,
		.buf = (char *)job->answer + job->layout.log,
		.size = job->wire.log_size,
	};
	struct worker_wire_answer *reply = &job->reply;
	struct verifier_facts facts = {0};
	uint64_t from;

	if (!find_contents(job, maps)) {
		reply->verdict = -EINVAL;
		return;
	}
	from = now_ns();
	reply->verdict = verifier_check(&prog, &log, &facts);
	reply->verify_ns = now_ns() - from;
	memcpy(reply->helpers, facts.helpers, sizeof(reply->helpers));
	reply->maps = facts.maps;
	reply->stack_depth = facts.stack_depth;
	reply->processed = facts.processed;
	reply->uses_percpu = facts.uses_percpu;
	reply->reads_unwritten = facts.reads_unwritten;
	reply->ctx_size = facts.ctx_size;
	reply->kernel_only = facts.kernel_only;
	job->zero_stack = worker_zero_stack(&facts);
	reply->log_true_size = log.len;
	if (log.size) {
		log.buf[log.size - 1] = '\0';
		reply->log_len = (uint32_t)strlen(log.buf) + 1;
	}
}

static void compile(struct job *job, struct reason *ret_why_not)
{
	const struct jit_prog prog = {
		.insns = (const void *)(job->request + job->layout.insns),
		.cnt = job->wire.insn_cnt,
		.maps = (const void *)(job->request + job->layout.records),
		.map_cnt = job->wire.map_cnt,
		.zero_stack = job->zero_stack,
		.tier = job->wire.task == WORKER_LOAD ? JIT_FAST : JIT_FULL,
	};
	struct link_result result;
	int r = jit_compile(&prog, &result, ret_why_not);

	if (r < 0) {
		if (!ret_why_not->text[0])
			reason_set(ret_why_not, r, "not compiled: %s", strerror(-r));
		return;
	}
	if (result.len > WORKER_CODE_MAX || result.reloc_cnt > WORKER_RELOCS_MAX) {
		reason_set(ret_why_not, -E2BIG, "not compiled: %zu bytes of code, %u relocations",
			   result.len, result.reloc_cnt);
	} else {
		memcpy(job->answer + job->layout.code, result.code, result.len);
		if (result.reloc_cnt)
			memcpy(job->answer + job->layout.relocs, result.relocs,
			       result.reloc_cnt * sizeof(*result.relocs));
		job->reply.code_len = (uint32_t)result.len;
		job->reply.reloc_cnt = result.reloc_cnt;
	}
	link_result_deinit(&result);
}

static int answer(const struct job *job)
{
	struct iovec iov = {(void *)&job->reply, sizeof(job->reply)};
	const struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = sendmsg(WORKER_SOCKET, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == sizeof(job->reply) ? 0 : -1;
}

static int serve(void)
{
	struct job job = {0};
	struct reason why_not = {0};
	int r;

	if (begin(&job) < 0)
		return -1;
	job.reply.magic = WORKER_MAGIC;
	job.reply.sequence = job.wire.sequence;
	job.zero_stack = job.wire.zero_stack;
	if (job.wire.task != WORKER_AGAIN)
		verify(&job);
	if (job.reply.verdict == 0 && job.wire.task != WORKER_VERIFY)
		compile(&job, &why_not);
	memcpy(job.reply.no_code, why_not.text, sizeof(job.reply.no_code));
	r = answer(&job);
	finish(&job);
	return r;
}

int main(void)
{
	int r;

	/* Started by descriptor, it would be named after that. */
	prctl(PR_SET_NAME, "bpfshim-worker");
	offer_to_oom_killer();
	r = warm_up();
	if (r == 0)
		r = sandbox_enter(WORKER_SOCKET);
	if (r < 0) {
		/* Standard error may be closed by now; the exit status says it too. */
		dprintf(STDERR_FILENO, "bpfshim-worker: %s\n", strerror(-r));
		_exit(EXIT_FAILURE);
	}
	while (serve() == 0)
		;
	_exit(EXIT_SUCCESS);
}
