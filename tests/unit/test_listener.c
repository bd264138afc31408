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
#include <stdbool.h>
#include <sys/ioctl.h>

#include "base/feature.h"
#include "notifier/listener.h"

#define NUMBER 7

/*
 * What happens to the next attempts to hand over a descriptor, 0 ends them. EINTR is a request that
 * was queued, and taken back; one that also answers has left its mark on the notification by then.
 */
static int addfd_errors[4], send_errors[2];
static unsigned int addfd_calls, send_calls, sends;
static int sent_error, installed;
static int64_t sent_value;
static bool answered;

static int play_addfd(const struct seccomp_notif_addfd *addfd)
{
	bool answers = addfd->flags & SECCOMP_ADDFD_FLAG_SEND;
	int error = answered ? EINPROGRESS : addfd_errors[addfd_calls];

	addfd_calls++;
	if (answers && (error == 0 || error == EINTR)) {
		answered = true;
		sent_value = error ? 0 : NUMBER;
	}
	installed += !error;
	errno = error;
	return error ? -1 : NUMBER;
}

static int play_send(const struct seccomp_notif_resp *resp)
{
	int error = answered ? EINPROGRESS : send_errors[send_calls];

	send_calls++;
	errno = error;
	if (error)
		return -1;
	answered = true;
	sends++;
	sent_error = resp->error;
	sent_value = resp->val;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == SECCOMP_IOCTL_NOTIF_ADDFD)
		return play_addfd(arg);
	assert_true(request == SECCOMP_IOCTL_NOTIF_SEND);
	return play_send(arg);
}

static int send_fd(int first, int second)
{
	addfd_calls = send_calls = sends = 0;
	sent_error = installed = 0;
	sent_value = -1;
	answered = false;
	send_errors[0] = 0;
	addfd_errors[0] = first;
	addfd_errors[1] = second;
	return listener_send_fd(3, 1, 4, O_CLOEXEC);
}

/* The caller has one descriptor, and its number is the answer. */
static void assert_delivered(void)
{
	assert_true(answered);
	assert_int_equal(installed, 1);
	assert_int_equal(sent_error, 0);
	assert_int_equal(sent_value, NUMBER);
}

static void test_installed(void **state)
{
	assert_int_equal(send_fd(0, 0), 0);
	assert_delivered();
}

static void test_caller_gone(void **state)
{
	static const int errors[] = {ENOENT, ESRCH};

	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(send_fd(errors[i], 0), -ENOENT);
		assert_int_equal(sends, 0);
	}
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
	assert_int_equal(send_fd(EINTR, EINTR), 0);
	assert_int_equal(addfd_calls, 3);
	assert_delivered();
}

static void test_answer_interrupted(void **state)
{
	answered = false;
	send_calls = sends = 0;
	send_errors[0] = EINTR;
	assert_int_equal(listener_send_value(3, 1, 12), 0);
	assert_int_equal(send_calls, 2);
	assert_int_equal(sent_value, 12);
}

/* Where signals end notified calls, nothing may come between the descriptor and the answer. */
static void test_not_killable(void **state)
{
	feature_deny(FEATURE_WAIT_KILLABLE);
	assert_int_equal(send_fd(0, 0), 0);
	assert_int_equal(sends, 0);
	assert_delivered();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_installed),    cmocka_unit_test(test_caller_gone),
		cmocka_unit_test(test_no_room),	     cmocka_unit_test(test_refused),
		cmocka_unit_test(test_interrupted),  cmocka_unit_test(test_answer_interrupted),
		cmocka_unit_test(test_not_killable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
