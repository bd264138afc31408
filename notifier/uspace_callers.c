/* SPDX-License-Identifier: MIT */
/*
 * See uspace_callers.h.
 */
#include "notifier/uspace_callers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "notifier/tenant.h"
#include "notifier/uspace_plan.h"
#include "notifier/uspace_targets.h"

/* In the child. Of a run it says what we have against it; who visits has nobody to tell. */
static void visit(struct uspace_plan *plan, pid_t pid, int fd)
{
	struct reason reason = {0};
	enum shim_state state;

	uspace_targets_child(plan, &fd);
	uspace_plan_run(plan, plan->site_cnt, pid, 0, fd, &state, &reason);
	if (plan->test_run)
		(void)!write(fd, reason.text, strlen(reason.text));
	_exit(0);
}

/* @ret_fd: one byte can be read when it is armed, nothing if it ended without. Return: the child.
 */
static pid_t start(struct uspace_plan *plan, pid_t pid, const struct shim_test_run *run,
		   int *ret_fd)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child == 0) {
		plan->test_run = run;
		visit(plan, pid, fds[1]);
	}
	close_fd(fds[1]);
	if (child < 0) {
		close_fd(fds[0]);
		return -EAGAIN;
	}
	*ret_fd = fds[0];
	return child;
}

int uspace_callers_visit(struct uspace *uspace, struct uspace_plan *plan, pid_t pid)
{
	char byte;
	int fd;
	pid_t child = start(plan, pid, NULL, &fd);

	if (child < 0)
		return child;
	(void)!read(fd, &byte, 1);
	close_fd(fd);
	uspace->callers[uspace->caller_cnt++] = child;
	return 0;
}

void uspace_callers_reap(struct uspace *uspace, bool wait)
{
	wait |= uspace->caller_cnt == ARRAY_SIZE(uspace->callers);
	for (uint32_t i = 0; i < uspace->caller_cnt;) {
		int status = 0;

		if (waitpid(uspace->callers[i], &status, wait ? 0 : WNOHANG) == 0) {
			i++;
			continue;
		}
		uspace->callers[i] = uspace->callers[--uspace->caller_cnt];
		if (!WIFSIGNALED(status))
			continue;
		atomic_fetch_add(&uspace->missed, 1);
		log_notice("tenant=%s: a process that attached probes runs on without them: who "
			   "was to change it ended early",
			   uspace->tenant->name);
	}
}

int uspace_callers_run(struct uspace_plan *plan, pid_t pid, const struct shim_test_run *run,
		       struct uspace_caller *ret_caller, struct reason *reason)
{
	struct uspace_caller caller = {.reason_fd = -1};
	struct reason why = {0}, rest = {0};
	char armed = 0;

	caller.child = start(plan, pid, run, &caller.reason_fd);
	if (caller.child < 0)
		return caller.child;
	if (read(caller.reason_fd, &armed, 1) == 1 && armed == 'x') {
		*ret_caller = caller;
		return 0;
	}
	/* What was read then is the first letter of why. */
	if (armed)
		why.text[0] = armed;
	uspace_callers_finish(&caller, &rest);
	if (armed)
		memcpy(why.text + 1, rest.text, sizeof(why.text) - 1);
	why.text[sizeof(why.text) - 1] = '\0';
	return reason_set(reason, -EPERM,
			  "a program for traced processes runs in the process that asks for it, "
			  "which cannot be stopped%s%.300s",
			  why.text[0] ? ": " : "", why.text);
}

void uspace_callers_finish(struct uspace_caller *caller, struct reason *ret_reason)
{
	ssize_t n;

	while (waitpid(caller->child, NULL, 0) < 0 && errno == EINTR)
		;
	/* Children of others may still hold the other end. */
	fcntl(caller->reason_fd, F_SETFL, O_NONBLOCK);
	n = read(caller->reason_fd, ret_reason->text, sizeof(ret_reason->text) - 1);
	ret_reason->text[n > 0 ? n : 0] = '\0';
	close_fd(caller->reason_fd);
}
