/* SPDX-License-Identifier: MIT */
/*
 * The daemon's side of the worker: writes requests, judges answers. Nothing a worker says is
 * believed before it is copied and checked; one that says nonsense, or nothing in time, is killed.
 */
#include "verifier/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "verifier/worker_process.h"
#include "verifier/worker_proto.h"

#define ERRNO_MAX     4095
#define STACK_MAX     4096 /* 8 frames of 512 */
#define PROCESSED_MAX 1000001u

/** struct worker - @lock: one request at a time */
struct worker {
	struct process *process;
	pthread_mutex_t lock;
	uint32_t sequence;
};

/** struct talk - one request; owns the descriptors */
struct talk {
	struct worker *worker;
	const struct worker_request *request;
	struct worker_wire_request wire;
	struct worker_layout layout;
	struct worker_wire_answer answer;
	int files[2], socket;
	struct timespec until;
	struct reason *reason;
};

int worker_new(int exe_fd, int nice, struct worker **ret_worker)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int r;

	if (!worker)
		return -ENOMEM;
	r = process_new(exe_fd, nice, &worker->process);
	if (r < 0) {
		free(worker);
		return r;
	}
	pthread_mutex_init(&worker->lock, NULL);
	*ret_worker = worker;
	return 0;
}

void worker_warm(struct worker *worker)
{
	process_want(worker->process);
}

void worker_stop(struct worker *worker)
{
	process_kill(worker->process, NULL);
}

struct worker *worker_free(struct worker *worker)
{
	if (!worker)
		return NULL;
	process_free(worker->process);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
	return NULL;
}

void worker_answer_deinit(struct worker_answer *answer)
{
	free(answer->log);
	free(answer->code);
	free(answer->relocs);
	memset(answer, 0, sizeof(*answer));
}

static int write_at(int fd, const void *bytes, size_t len, size_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes = (const unsigned char *)bytes + n;
		len -= (size_t)n;
		at += (size_t)n;
	}
	return 0;
}

static int read_at(int fd, void *bytes, size_t len, size_t at)
{
	while (len > 0) {
		ssize_t n = pread(fd, bytes, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes = (unsigned char *)bytes + n;
		len -= (size_t)n;
		at += (size_t)n;
	}
	return 0;
}

static int make_file(size_t size)
{
	cleanup_fd int fd = memfd_create("bpfshim-worker", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return -errno;
	return take_fd(&fd);
}

static size_t contents_size(const struct verifier_map *map)
{
	return map->contents ? ((size_t)map->value_size + 7) / 8 * 8 : 0;
}

/* The maps, with the places of their contents, and these. */
static int write_maps(const struct talk *t)
{
	const struct verifier_prog *prog = &t->request->prog;
	struct verifier_map maps[VERIFIER_MAPS_MAX];
	size_t at = 0;
	int r = 0;

	if (!prog->maps)
		return 0;

	for (uint32_t i = 0; i < prog->map_cnt && r == 0; i++) {
		size_t size = contents_size(&prog->maps[i]);

		maps[i] = prog->maps[i];
		maps[i].contents = NULL;
		if (!size || at + size > t->wire.contents_size)
			continue;
		maps[i].contents = (const unsigned char *)(uintptr_t)(at + 1);
		r = write_at(t->files[0], prog->maps[i].contents, prog->maps[i].value_size,
			     t->layout.contents + at);
		at += size;
	}
	if (r == 0)
		r = write_at(t->files[0], maps, prog->map_cnt * sizeof(*maps), t->layout.maps);
	return r;
}

static int write_info(const struct talk *t)
{
	const struct verifier_info *info = &t->request->prog.info;
	const struct worker_layout *at = &t->layout;
	const int fd = t->files[0];
	int r = write_at(fd, info->funcs.data, (size_t)t->wire.func_cnt * t->wire.func_size,
			 at->funcs);

	if (r == 0)
		r = write_at(fd, info->lines.data, (size_t)t->wire.line_cnt * t->wire.line_size,
			     at->lines);
	return r < 0 ? r : write_at(fd, info->btf, t->wire.btf_len, at->btf);
}

static int write_request(const struct talk *t)
{
	const struct verifier_prog *prog = &t->request->prog;
	const struct worker_layout *at = &t->layout;
	const int fd = t->files[0];
	int r;

	r = write_at(fd, prog->insns, prog->cnt * sizeof(*prog->insns), at->insns);
	if (r == 0)
		r = write_maps(t);
	if (r == 0 && t->request->maps)
		r = write_at(fd, t->request->maps, prog->map_cnt * sizeof(*t->request->maps),
			     at->records);
	return r < 0 ? r : write_info(t);
}

/* The worker can write into the answer's file for as long as it likes, but not change its size. */
static int make_files(struct talk *t)
{
	int r;

	t->files[0] = make_file(t->layout.request_size + 1);
	if (t->files[0] < 0)
		return t->files[0];
	t->files[1] = make_file(t->layout.answer_size);
	if (t->files[1] < 0)
		return t->files[1];
	r = write_request(t);
	if (r < 0)
		return r;
	if (fcntl(t->files[0], F_ADD_SEALS,
		  F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
	    fcntl(t->files[1], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return 0;
}

static int send_request(struct talk *t)
{
	union {
		char bytes[CMSG_SPACE(sizeof(t->files))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {&t->wire, sizeof(t->wire)};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
	ssize_t n;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(t->files));
	memcpy(CMSG_DATA(cmsg), t->files, sizeof(t->files));
	do
		n = sendmsg(t->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* One that died since the last request is replaced without anybody noticing. */
static int deliver(struct talk *t)
{
	struct reason what = {0};
	int r = -EPIPE;

	for (int attempt = 0; attempt < 2 && (r == -EPIPE || r == -ECONNRESET); attempt++) {
		if (attempt > 0)
			process_kill(t->worker->process, NULL);
		close_fd(t->socket);
		t->socket = process_socket(t->worker->process, &t->until);
		r = t->socket < 0 ? t->socket : send_request(t);
	}
	if (r == 0)
		return 0;
	if (r != -EPIPE && r != -ECONNRESET)
		return reason_set(t->reason, r == -ETIMEDOUT ? r : -EIO,
				  "the verifier's process could not be started: %s", strerror(-r));
	process_kill(t->worker->process, &what);
	return reason_set(t->reason, -EIO, "the verifier's process does not stay: %s", what.text);
}

static int milliseconds_left(const struct timespec *until)
{
	struct timespec now;
	int64_t left;

	clock_gettime(CLOCK_REALTIME, &now);
	left = (until->tv_sec - now.tv_sec) * 1000 + (until->tv_nsec - now.tv_nsec) / 1000000;
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

/* Return: bytes received, 0 when it is gone, -ETIMEDOUT. */
static ssize_t await(struct talk *t)
{
	struct pollfd poll_fd = {.fd = t->socket, .events = POLLIN};
	/* No room for descriptors: should it send any, they are dropped. One byte too many is seen.
	 */
	struct {
		struct worker_wire_answer answer;
		char excess;
	} buf;
	struct iovec iov = {&buf, sizeof(t->answer) + 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;
	int r;

	do
		r = poll(&poll_fd, 1, milliseconds_left(&t->until));
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return -ETIMEDOUT;
	n = recvmsg(t->socket, &message, MSG_DONTWAIT);
	if (n == sizeof(t->answer))
		t->answer = buf.answer;
	return n < 0 ? 0 : n;
}

/* What is wrong with the fixed part of the answer, or NULL. */
static const char *find_fault(const struct talk *t)
{
	const struct worker_wire_answer *a = &t->answer;
	const uint32_t map_cnt = t->wire.map_cnt;

	if (a->magic != WORKER_MAGIC || a->sequence != t->wire.sequence)
		return "it is not one to this request";
	if (a->verdict > 0 || a->verdict < -ERRNO_MAX)
		return "the verdict is none";
	if (a->log_len > t->wire.log_size || (t->wire.log_size && a->log_len == 0))
		return "the log has a wrong length";
	if (a->code_len > WORKER_CODE_MAX ||
	    (a->code_len && (a->verdict != 0 || t->wire.task == WORKER_VERIFY)) ||
	    a->reloc_cnt > WORKER_RELOCS_MAX || (a->reloc_cnt && !a->code_len))
		return "there is code where none belongs";
	if (a->uses_percpu > 1 || a->reads_unwritten > 1 || a->stack_depth > STACK_MAX ||
	    a->processed > PROCESSED_MAX || (map_cnt < 64 && a->maps >> map_cnt))
		return "the facts are none";
	if (!memchr(a->no_code, '\0', sizeof(a->no_code)))
		return "a text has no end";
	return NULL;
}

/* The worker may still be writing: what is judged is the copy. */
static int copy_payload(const struct talk *t, struct worker_answer *answer)
{
	const struct worker_wire_answer *a = &t->answer;
	int r;

	answer->log = calloc(1, a->log_len + 1);
	if (!answer->log)
		return -ENOMEM;
	r = read_at(t->files[1], answer->log, a->log_len, t->layout.log);
	if (r < 0)
		return r;
	if (a->log_len && strnlen(answer->log, a->log_len) != a->log_len - 1)
		return -EPROTO;
	if (a->code_len == 0)
		return 0;
	answer->code = malloc(a->code_len);
	if (!answer->code)
		return -ENOMEM;
	answer->code_len = a->code_len;
	r = read_at(t->files[1], answer->code, a->code_len, t->layout.code);
	if (r < 0 || a->reloc_cnt == 0)
		return r;
	answer->relocs = calloc(a->reloc_cnt, sizeof(*answer->relocs));
	if (!answer->relocs)
		return -ENOMEM;
	answer->reloc_cnt = a->reloc_cnt;
	return read_at(t->files[1], answer->relocs, a->reloc_cnt * sizeof(*answer->relocs),
		       t->layout.relocs);
}

static void copy_facts(const struct talk *t, struct worker_answer *answer)
{
	const struct worker_wire_answer *a = &t->answer;

	answer->verdict = a->verdict;
	answer->log_true_size = a->log_true_size;
	answer->verify_ns = a->verify_ns;
	memcpy(answer->no_code.text, a->no_code, sizeof(a->no_code));
	if (a->verdict != 0)
		return;
	memcpy(answer->facts.helpers, a->helpers, sizeof(a->helpers));
	answer->facts.maps = a->maps;
	answer->facts.stack_depth = a->stack_depth;
	answer->facts.processed = a->processed;
	answer->facts.uses_percpu = a->uses_percpu;
	answer->facts.reads_unwritten = a->reads_unwritten;
	answer->facts.ctx_size = a->ctx_size;
	answer->facts.kernel_only = a->kernel_only;
}

static int nonsense(struct talk *t, const char *what)
{
	process_kill(t->worker->process, NULL);
	return reason_set(t->reason, -EIO,
			  "the verifier's process gave an answer that cannot be used: %s", what);
}

static int receive_answer(struct talk *t, int timeout_ms, struct worker_answer *answer)
{
	ssize_t n = await(t);
	struct reason what = {0};
	const char *fault;
	int r;

	if (n == -ETIMEDOUT) {
		process_kill(t->worker->process, NULL);
		return reason_set(t->reason, -ETIMEDOUT,
				  "the verifier's process did not answer within %d ms", timeout_ms);
	}
	if (n == 0) {
		process_kill(t->worker->process, &what);
		return reason_set(t->reason, -EIO, "the verifier's process was lost: %s",
				  what.text);
	}
	if (n != sizeof(t->answer))
		return nonsense(t, "it has a wrong size");
	fault = find_fault(t);
	if (fault)
		return nonsense(t, fault);
	r = copy_payload(t, answer);
	if (r == -EPROTO)
		return nonsense(t, "the log has a wrong length");
	if (r == 0)
		copy_facts(t, answer);
	return r;
}

static int ask(struct talk *t, int timeout_ms, struct worker_answer *ret_answer)
{
	struct worker_answer answer = {0};
	int r = make_files(t);

	if (r < 0)
		return reason_set(t->reason, r, "no memory file for the verifier: %s",
				  strerror(-r));
	r = deliver(t);
	if (r == 0)
		r = receive_answer(t, timeout_ms, &answer);
	if (r < 0)
		worker_answer_deinit(&answer);
	else
		*ret_answer = answer;
	return r;
}

/* Of as many maps as there is room for. */
static uint32_t all_contents(const struct verifier_prog *prog)
{
	size_t sum = 0;

	/* That is refused in a moment. */
	if (prog->map_cnt > VERIFIER_MAPS_MAX || !prog->maps)
		return 0;
	for (uint32_t i = 0; i < prog->map_cnt; i++) {
		size_t size = contents_size(&prog->maps[i]);

		if (sum + size <= WORKER_CONTENTS_MAX)
			sum += size;
	}
	return (uint32_t)sum;
}

static void describe_request(struct talk *t)
{
	const struct worker_request *request = t->request;
	const uint32_t log_size = request->log_level ? request->log_size : 0;
	const struct verifier_info *info = &request->prog.info;
	const bool has_info = info->funcs.cnt || info->lines.cnt;

	t->wire = (struct worker_wire_request){
		.magic = WORKER_MAGIC,
		.insn_cnt = request->prog.cnt,
		.map_cnt = request->prog.map_cnt,
		.type = request->prog.type,
		.attach_type = request->prog.attach_type,
		.gpl = request->prog.gpl,
		.sleepable = request->prog.sleepable,
		.log_level = request->log_level,
		/* A longer one would be cut anyway: the kernel's own limits keep it far below. */
		.log_size = log_size < WORKER_LOG_MAX ? log_size : WORKER_LOG_MAX,
		.contents_size = all_contents(&request->prog),
		.task = request->task,
		.zero_stack = request->zero_stack,
		.func_cnt = info->funcs.cnt,
		.func_size = info->funcs.size,
		.line_cnt = info->lines.cnt,
		.line_size = info->lines.size,
		.btf_len = has_info ? info->btf_len : 0,
	};
}

int worker_ask(struct worker *worker, const struct worker_request *request, int timeout_ms,
	       struct worker_answer *ret_answer, struct reason *reason)
{
	struct talk t = {.worker = worker,
			 .request = request,
			 .files = {-1, -1},
			 .socket = -1,
			 .reason = reason};
	int r;

	reason_clear(reason);
	deadline_in(timeout_ms, &t.until);
	describe_request(&t);
	r = worker_layout(&t.wire, &t.layout);
	if (r < 0)
		return reason_set(reason, r, "the program is too long for the verifier");
	if (pthread_mutex_timedlock(&worker->lock, &t.until) != 0)
		return reason_set(reason, -ETIMEDOUT,
				  "other programs kept the verifier busy for %d ms", timeout_ms);
	t.wire.sequence = ++worker->sequence;
	r = ask(&t, timeout_ms, ret_answer);
	pthread_mutex_unlock(&worker->lock);
	close_fd(t.files[0]);
	close_fd(t.files[1]);
	close_fd(t.socket);
	return r;
}
