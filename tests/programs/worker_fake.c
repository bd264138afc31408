/* SPDX-License-Identifier: MIT */
/*
 * A worker that somebody took over: it answers, but wrongly, in the way the program type says.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/programs/worker_modes.h"
#include "verifier/worker_proto.h"

#define LOG  "fine\n"
#define CODE "\x31\xc0\xc3"

static struct worker_wire_request wire;
static struct worker_wire_answer answer;
static unsigned char *file;
static int fds[2];

static void receive(void)
{
	char control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec iov = {&wire, sizeof(wire)};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct worker_layout layout;

	if (recvmsg(WORKER_SOCKET, &message, 0) != sizeof(wire) ||
	    worker_layout(&wire, &layout) < 0)
		_exit(0);
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fds));
	file = mmap(NULL, layout.answer_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	memcpy(file + layout.log, LOG, sizeof(LOG));
	memcpy(file + layout.code, CODE, 3);
	answer = (struct worker_wire_answer){
		.magic = WORKER_MAGIC,
		.sequence = wire.sequence,
		.log_len = sizeof(LOG),
		.log_true_size = sizeof(LOG),
		.code_len = 3,
		.stack_depth = 16,
		.processed = 2,
	};
}

static void spoil(uint32_t mode)
{
	switch (mode) {
	case FAKE_MAGIC:
		answer.magic++;
		break;
	case FAKE_SEQUENCE:
		answer.sequence--;
		break;
	case FAKE_POSITIVE:
		answer.verdict = 1;
		break;
	case FAKE_HUGE_ERROR:
		answer.verdict = -4096;
		answer.code_len = 0;
		break;
	case FAKE_LOG_LONG:
		answer.log_len = wire.log_size + 1;
		break;
	case FAKE_LOG_NONE:
		answer.log_len = 0;
		break;
	case FAKE_LOG_OPEN:
		answer.log_len = sizeof(LOG) - 1;
		break;
	case FAKE_LOG_EARLY:
		answer.log_len = sizeof(LOG) + 1;
		break;
	case FAKE_CODE_LONG:
		answer.code_len = WORKER_CODE_MAX + 1;
		break;
	case FAKE_CODE_REFUSED:
		answer.verdict = -EACCES;
		break;
	case FAKE_RELOCS_LONG:
		answer.reloc_cnt = WORKER_RELOCS_MAX + 1;
		break;
	case FAKE_RELOCS_ALONE:
		answer.code_len = 0;
		answer.reloc_cnt = 1;
		break;
	case FAKE_FACTS_MAPS:
		answer.maps = 1ull << wire.map_cnt;
		break;
	case FAKE_FACTS_BOOL:
		answer.uses_percpu = 2;
		break;
	case FAKE_FACTS_STACK:
		answer.stack_depth = 1 << 20;
		break;
	case FAKE_FACTS_PROCESSED:
		answer.processed = UINT32_MAX;
		break;
	case FAKE_REASON_OPEN:
		memset(answer.no_code, 'x', sizeof(answer.no_code));
		break;
	}
}

static void send_bytes(const void *bytes, size_t len, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {(void *)bytes, len};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&message)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof(fd));
	}
	sendmsg(WORKER_SOCKET, &message, 0);
}

static void respond(uint32_t mode)
{
	static char excess[sizeof(answer) + 1];

	spoil(mode);
	switch (mode) {
	case FAKE_SHORT:
		send_bytes(&answer, sizeof(answer) - 1, -1);
		return;
	case FAKE_LONG:
		memcpy(excess, &answer, sizeof(answer));
		send_bytes(excess, sizeof(excess), -1);
		return;
	case FAKE_EMPTY:
		send_bytes(&answer, 0, -1);
		return;
	case FAKE_DESCRIPTORS:
		send_bytes(&answer, sizeof(answer), WORKER_SOCKET);
		return;
	case FAKE_RESIZE:
		/* Shortened, the daemon's read would fail; a mapping of it would fault. */
		(void)!ftruncate(fds[1], 0);
		(void)!ftruncate(fds[1], 1 << 30);
		break;
	case FAKE_CLOSE:
		shutdown(WORKER_SOCKET, SHUT_RDWR);
		pause();
		return;
	case FAKE_EXIT:
		_exit(3);
	}
	send_bytes(&answer, sizeof(answer), -1);
	if (mode == FAKE_TWICE)
		send_bytes(&answer, sizeof(answer), -1);
}

int main(void)
{
	for (;;) {
		receive();
		respond(wire.type);
	}
}
