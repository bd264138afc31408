/* SPDX-License-Identifier: MIT */
/*
 * Answers of a listener when the kernel refuses them: a caller must never be left waiting. The
 * kernel is played by an ioctl() of our own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>

#include "notifier/listener.h"

/* Errors of the next attempts to hand over a descriptor, 0 ends them; and what was answered. */
static int addfd_errors[4];
static unsigned int addfd_calls, sends;
static int sent_error;

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == SECCOMP_IOCTL_NOTIF_ADDFD) {
		errno = addfd_errors[addfd_calls++];
		return errno ? -1 : 7;
	}
	assert_true(request == SECCOMP_IOCTL_NOTIF_SEND);
	sends++;
	sent_error = ((struct seccomp_notif_resp *)arg)->error;
	return 0;
}

static int send_fd(int first, int second)
{
	addfd_calls = sends = 0;
	sent_error = 0;
	addfd_errors[0] = first;
	addfd_errors[1] = second;
	return listener_send_fd(3, 1, 4, O_CLOEXEC);
}

static void test_installed(void **state)
{
	assert_int_equal(send_fd(0, 0), 0);
	assert_int_equal(sends, 0);
}

static void test_caller_gone(void **state)
{
	assert_int_equal(send_fd(ENOENT, 0), -ENOENT);
	assert_int_equal(sends, 0);
}

static void test_no_room(void **state)
{
	static const int errors[] = {EMFILE, ENFILE, EBADF};

	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(send_fd(errors[i], 0), -EMFILE);
		assert_int_equal(sends, 1);
		assert_int_equal(sent_error, -EMFILE);
	}
}

static void test_refused(void **state)
{
	static const int errors[] = {EPERM, EACCES, EBUSY, EINVAL, ENOMEM};

	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(send_fd(errors[i], 0), -errors[i]);
		assert_int_equal(sends, 1);
		assert_int_equal(sent_error, -errors[i]);
	}
}

static void test_interrupted(void **state)
{
	assert_int_equal(send_fd(EINTR, 0), 0);
	assert_int_equal(addfd_calls, 2);
	assert_int_equal(sends, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_installed),   cmocka_unit_test(test_caller_gone),
		cmocka_unit_test(test_no_room),	    cmocka_unit_test(test_refused),
		cmocka_unit_test(test_interrupted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
