/* SPDX-License-Identifier: MIT */
/*
 * Kernel features, and that what stands in for a missing one gives the same answers.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/feature.h"
#include "base/sys.h"
#include "notifier/fdpass.h"
#include "notifier/filter.h"
#include "notifier/guest.h"
#include "notifier/listener.h"

#define MARK 0x62706600 /* a command no kernel has */

/* A child that waits in a notified bpf() call for as long as the test looks at it. */
struct waiter {
	pid_t pid;
	int sock, listener;
	uint64_t id;
	struct guest guest;
	unsigned char *pages; /* same addresses in the child: one read-only, one writable page */
	size_t page;
};

static _Noreturn void waiter_child(int sock)
{
	if (filter_install_and_send(sock, false) < 0)
		_exit(1);
	sys_bpf(MARK, NULL, 0);
	_exit(0);
}

static void waiter_start(struct waiter *waiter)
{
	struct seccomp_notif notif;
	int socks[2];

	waiter->page = (size_t)sysconf(_SC_PAGESIZE);
	waiter->pages = mmap(NULL, 2 * waiter->page, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(waiter->pages, MAP_FAILED);
	assert_int_equal(mprotect(waiter->pages, waiter->page, PROT_READ), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
	waiter->pid = fork();
	if (waiter->pid == 0)
		waiter_child(socks[1]);
	close_fd(socks[1]);
	waiter->sock = socks[0];
	waiter->listener = fdpass_recv(socks[0]);
	assert_true(waiter->listener >= 0);
	assert_int_equal(write(socks[0], "x", 1), 1);
	assert_int_equal(listener_receive(waiter->listener, &notif), 0);
	waiter->id = notif.id;
	guest_init(&waiter->guest, waiter->listener, notif.id, (pid_t)notif.pid);
}

static void waiter_end(struct waiter *waiter)
{
	int status;

	guest_deinit(&waiter->guest);
	listener_send_error(waiter->listener, waiter->id, -EINVAL);
	assert_int_equal(waitpid(waiter->pid, &status, 0), waiter->pid);
	assert_int_equal(status, 0);
	close_fd(waiter->listener);
	close_fd(waiter->sock);
	munmap(waiter->pages, 2 * waiter->page);
}

/* What the daemon asks of a caller, once whichever way it is found out. */
static void ask_all(struct waiter *waiter)
{
	const uint64_t pages = (uintptr_t)waiter->pages;
	unsigned char bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8}, back[8];
	struct stat own, got;
	int fd;

	/* Writing: only where the caller itself could, in one mapping or across two. */
	assert_int_equal(guest_write(&waiter->guest, pages + waiter->page, bytes, 8), 0);
	assert_int_equal(guest_read(&waiter->guest, pages + waiter->page, back, 8), 0);
	assert_memory_equal(bytes, back, 8);
	assert_int_equal(guest_write(&waiter->guest, pages, bytes, 8), -EFAULT);
	assert_int_equal(guest_write(&waiter->guest, pages + waiter->page - 4, bytes, 8), -EFAULT);
	assert_int_equal(guest_write(&waiter->guest, 16, bytes, 8), -EFAULT);
	/* Descriptors. */
	fd = guest_get_fd(&waiter->guest, 1);
	assert_true(fd >= 0);
	assert_int_equal(fstat(1, &own), 0);
	assert_int_equal(fstat(fd, &got), 0);
	assert_int_equal(own.st_ino, got.st_ino);
	close_fd(fd);
	assert_int_equal(guest_get_fd(&waiter->guest, 4000), -EBADF);
	/* Pids: the child's namespace is ours. */
	assert_int_equal(guest_pid_to_host(&waiter->guest, waiter->pid), waiter->pid);
	assert_int_equal(guest_pid_to_host(&waiter->guest, getpid()), getpid());
	assert_int_equal(guest_pid_to_host(&waiter->guest, 0x3fffffff), -ESRCH);
}

static void test_with(void **state)
{
	struct waiter waiter;

	waiter_start(&waiter);
	ask_all(&waiter);
	waiter_end(&waiter);
}

static void test_without(void **state)
{
	struct waiter waiter;

	/* One at a time, so that each stand-in meets the others' real thing too. */
	for (enum feature feature = 0; feature < FEATURE_COUNT; feature++) {
		feature_deny(feature);
		assert_false(feature_has(feature));
		waiter_start(&waiter);
		ask_all(&waiter);
		waiter_end(&waiter);
	}
}

static void test_names(void **state)
{
	for (enum feature feature = 0; feature < FEATURE_COUNT; feature++)
		assert_true(strlen(feature_name(feature)) > 0);
}

int main(void)
{
	/* In this order: what is denied stays denied. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_with),
		cmocka_unit_test(test_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
