/* SPDX-License-Identifier: MIT */
/*
 * The reader thread: takes open events, starts helpers, gives permission. See late.h.
 *
 * Whatever it waited for could be waiting for an opener that it holds. So it never traces, never
 * opens a watched file and waits for nothing but its epoll set, a few milliseconds at most while an
 * event is unanswered.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "shim/late_internal.h"

#define HELD_MS	   1	/* no result for so long: see whether the helper sleeps in PTRACE_SEIZE */
#define HELD_LOOKS 3	/* every time in so many looks, 1 ms apart: it was no passing contention */
#define EVICT_MS   1000 /* followed for so long: may be let go in favour of others */
#define OVERDUE_MS 1000 /* no result for so long: give permission whatever it does */
#define GATE	   "etc/ld.so.cache"

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void missed(struct late *late, pid_t pid, const struct late_file *file, enum late_miss why)
{
	if (late->ops->missed)
		late->ops->missed(pid, file->dev, file->ino, why, late->data);
}

/* Permission; the event's descriptor is closed in any case. */
static void allow(struct late *late, int event_fd)
{
	struct fanotify_response response = {.fd = event_fd, .response = FAN_ALLOW};

	(void)!write(late->fanotify_fd, &response, sizeof(response));
	close_fd(event_fd);
	atomic_fetch_sub(&late->shared->pending, 1);
}

static void helper_allow(struct late *late, struct late_helper *helper)
{
	if (helper->event_fd >= 0)
		allow(late, take_fd(&helper->event_fd));
}

static void helper_drop_gate(struct late *late, struct late_helper *helper)
{
	if (helper->gate_fd < 0)
		return;
	late_watch_remove(late, helper->gate_fd, true);
	helper->gate_fd = close_fd(helper->gate_fd);
}

/* The helper process has ended. */
static void helper_reap(struct late *late, struct late_helper *helper)
{
	const struct late_file file = late->shared->slots[helper - late->helpers].files[0];
	int status = 0;

	if (helper->pid == 0 || waitpid(helper->pid, &status, WNOHANG) == 0)
		return;
	epoll_ctl(late->epoll_fd, EPOLL_CTL_DEL, helper->pidfd, NULL);
	helper_allow(late, helper);
	helper_drop_gate(late, helper);
	if (!helper->ended && !helper->caught)
		missed(late, helper->tid, &file,
		       WIFEXITED(status) ? (enum late_miss)WEXITSTATUS(status) : LATE_LOST);
	close_fd(helper->pidfd);
	helper->pid = 0;
}

static bool is_alive(const struct late_helper *helper)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)helper->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

/* The helper of a thread. @ret_previous: one that is about to let go of it, or 0. */
static struct late_helper *helper_find(struct late *late, pid_t tid, pid_t *ret_previous)
{
	*ret_previous = 0;
	for (uint32_t i = 0; i < LATE_HELPERS_MAX; i++) {
		struct late_helper *helper = &late->helpers[i];

		if (helper->pid == 0 || helper->tid != tid)
			continue;
		if (atomic_load(&late->shared->slots[i].state) != LATE_LETTING_GO &&
		    is_alive(helper))
			return helper;
		*ret_previous = helper->pid;
	}
	return NULL;
}

/* A free one. Threads that open the file and do nothing further must not use up all of them: the
 * one that has been followed for longest is let go, by its own time limit's signal, which a helper
 * that is patching ignores. */
static struct late_helper *helper_new(struct late *late)
{
	struct late_helper *oldest = &late->helpers[0];

	for (uint32_t i = 0; i < LATE_HELPERS_MAX; i++) {
		if (late->helpers[i].pid == 0)
			return &late->helpers[i];
		if (late->helpers[i].since < oldest->since)
			oldest = &late->helpers[i];
	}
	if (now_ms() - oldest->since > EVICT_MS) {
		kill(oldest->pid, SIGALRM);
		oldest->since = now_ms();
	}
	return NULL;
}

/* Copies of the daemon's descriptors for a helper. */
static void take_fds(struct late *late, int *ret_fds)
{
	uint32_t cnt = late->ops->fds ? late->ops->fds(ret_fds, late->data) : 0;

	for (uint32_t i = 0; i < LATE_FDS_MAX; i++) {
		int fd = i < cnt ? sys_pidfd_getfd(late->self_fd, ret_fds[i]) : -1;

		ret_fds[i] = fd < 0 ? -1 : fd;
	}
}

static int helper_fork(struct late *late, uint32_t index, pid_t tid, pid_t previous)
{
	const struct late_ops *ops = late->ops;
	int fds[LATE_FDS_MAX];
	pid_t pid;

	if (ops->lock)
		ops->lock(late->data);
	take_fds(late, fds);
	pid = fork();
	if (pid < 0)
		pid = -errno;
	if (ops->unlock)
		ops->unlock(late->data);
	if (pid == 0)
		late_helper_main(late, index, tid, previous, fds);
	for (uint32_t i = 0; i < LATE_FDS_MAX; i++)
		close_fd(fds[i]);
	return pid;
}

/* Return: 0, the event is the helper's; or -errno. */
static int helper_start(struct late *late, int event_fd, pid_t tid, const struct late_file *file,
			pid_t previous)
{
	struct late_helper *helper = helper_new(late);
	uint32_t index = helper ? (uint32_t)(helper - late->helpers) : 0;
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = LATE_TAG_HELPERS + index};
	struct late_slot *slot = &late->shared->slots[index];
	pid_t pid;

	if (!helper)
		return -EAGAIN;
	atomic_store(&slot->state, LATE_STARTING);
	atomic_store(&slot->gated, 0);
	slot->files[0] = *file;
	atomic_store(&slot->file_cnt, 1);
	pid = helper_fork(late, index, tid, previous);
	if (pid < 0)
		return pid;
	*helper = (struct late_helper){
		.pid = pid, .tid = tid, .event_fd = event_fd, .gate_fd = -1, .since = now_ms()};
	helper->pidfd = sys_pidfd_open(pid, 0);
	if (helper->pidfd < 0 ||
	    epoll_ctl(late->epoll_fd, EPOLL_CTL_ADD, helper->pidfd, &event) < 0) {
		/* Its end could not be noticed. */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close_fd(helper->pidfd);
		helper->pid = 0;
		return -EMFILE;
	}
	return 0;
}

/*
 * A followed thread opens a watched file again: another one, or the same because its open was
 * restarted. One that is not traced yet waits with this event as it did with the first.
 */
static void helper_add_event(struct late *late, struct late_helper *helper, int event_fd,
			     const struct late_file *file, bool probed)
{
	struct late_slot *slot = &late->shared->slots[helper - late->helpers];
	uint32_t cnt = atomic_load(&slot->file_cnt), i = 0;

	while (i < cnt && (slot->files[i].dev != file->dev || slot->files[i].ino != file->ino))
		i++;
	if (probed && i == cnt && cnt < LATE_FILES_MAX) {
		slot->files[cnt] = *file;
		atomic_store(&slot->file_cnt, cnt + 1);
	} else if (probed && i == cnt) {
		missed(late, helper->tid, file, LATE_BUSY);
	}
	if (!probed)
		atomic_store(&slot->gated, 1);
	helper_allow(late, helper); /* there is none: a thread waits for one open at a time */
	helper->event_fd = event_fd;
	helper->since = now_ms();
	helper->held_looks = 0;
	if (atomic_load(&slot->state) != LATE_OVERDUE)
		helper_allow(late, helper);
}

static void on_open(struct late *late, int event_fd, pid_t tid)
{
	struct late_helper *helper;
	struct late_file file;
	struct stat st;
	pid_t previous;
	bool probed;

	atomic_fetch_add(&late->shared->pending, 1);
	if (tid <= 0 || fstat(event_fd, &st) < 0) {
		allow(late, event_fd);
		return;
	}
	file = (struct late_file){st.st_dev, st.st_ino};
	probed = late_is_probed(late, &file);
	helper = helper_find(late, tid, &previous);
	if (helper) {
		helper_add_event(late, helper, event_fd, &file, probed);
		return;
	}
	if (!probed || !late->ops->wanted(tid, file.dev, file.ino, late->data)) {
		allow(late, event_fd);
		return;
	}
	if (helper_start(late, event_fd, tid, &file, previous) < 0) {
		allow(late, event_fd);
		missed(late, tid, &file, LATE_BUSY);
	}
}

static void read_events(struct late *late)
{
	char buf[4096] __attribute__((aligned(8)));
	struct fanotify_event_metadata *event = (void *)buf;
	ssize_t n = read(late->fanotify_fd, buf, sizeof(buf));

	for (; n > 0 && FAN_EVENT_OK(event, n); event = FAN_EVENT_NEXT(event, n)) {
		if (event->fd < 0)
			continue;
		if (event->mask & FAN_OPEN_PERM)
			on_open(late, event->fd, event->pid);
		else
			close_fd(event->fd);
	}
}

static void on_message(struct late *late, const struct late_message *message)
{
	struct late_helper *helper;
	struct late_file file = {message->stop.dev, message->stop.ino};

	if (message->slot >= LATE_HELPERS_MAX)
		return;
	helper = &late->helpers[message->slot];
	if (helper->pid != message->helper)
		return;
	switch (message->kind) {
	case LATE_MESSAGE_READY:
		helper_allow(late, helper);
		helper_drop_gate(late, helper);
		break;
	case LATE_MESSAGE_CAUGHT:
		helper->caught = true;
		if (late->ops->caught)
			late->ops->caught(&message->stop, message->result, message->reason,
					  late->data);
		break;
	case LATE_MESSAGE_MISSED:
		missed(late, message->stop.pid, &file, (enum late_miss)message->result);
		break;
	case LATE_MESSAGE_END:
		helper->ended = true;
		break;
	}
}

static void read_reports(struct late *late)
{
	struct late_message message;

	while (read(late->report_read, &message, sizeof(message)) == sizeof(message))
		on_message(late, &message);
}

/* Whether the helper sleeps in PTRACE_SEIZE: the opener holds what that needs. */
static bool is_held(struct late_helper *helper)
{
	cleanup_free char *text = NULL;
	unsigned long call, request;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/syscall", helper->pid);
	if (read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return false;
	if (sscanf(text, "%lu %lx", &call, &request) != 2 || call != SYS_ptrace ||
	    request != PTRACE_SEIZE)
		return false;
	return ++helper->held_looks >= HELD_LOOKS;
}

/*
 * Before it starts a fresh program, the dynamic loader opens its cache, holding nothing. By then
 * the seizing has got through, or soon will. Paths are resolved within the opener's root: what
 * looks like its cache may be a link to anything, but then it is a link within the same root.
 */
static void set_gate(struct late *late, struct late_helper *helper)
{
	cleanup_fd int root = -1;
	char path[40];
	int fd;

	if (helper->gate_fd >= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/root", helper->tid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = root < 0 ? -1 : sys_openat2(root, GATE, O_PATH | O_CLOEXEC, RESOLVE_IN_ROOT);
	if (fd >= 0 && late_watch_add(late, fd, true) == 0)
		helper->gate_fd = fd;
	else
		close_fd(fd);
}

/* Give permission where a helper has no result in time. */
static void check_pending(struct late *late)
{
	int64_t now = now_ms();

	for (uint32_t i = 0; i < LATE_HELPERS_MAX; i++) {
		struct late_helper *helper = &late->helpers[i];
		uint32_t state = LATE_STARTING;

		if (helper->pid == 0 || helper->event_fd < 0 || now - helper->since < HELD_MS)
			continue;
		if (now - helper->since < OVERDUE_MS && !is_held(helper) &&
		    atomic_load(&late->shared->slots[i].state) < LATE_READY)
			continue;
		if (atomic_compare_exchange_strong(&late->shared->slots[i].state, &state,
						   LATE_OVERDUE))
			set_gate(late, helper);
		helper_allow(late, helper);
	}
}

static void on_off(struct late *late)
{
	const struct late_file none = {0};

	late_end_requests(late);
	if (!atomic_exchange(&late->stop, true))
		missed(late, 0, &none, LATE_OFF);
}

static void on_wake(struct late *late)
{
	uint64_t count;

	(void)!read(late->wake_fd, &count, sizeof(count));
	late_serve_requests(late);
}

/* Without a watchdog nobody may be made to wait. */
static void on_watchdog(struct late *late)
{
	if (atomic_load(&late->shared->off) || late_keep_watchdog(late) == 0)
		return;
	late->fanotify_fd = close_fd(late->fanotify_fd);
	atomic_store(&late->shared->off, 1);
}

static void dispatch(struct late *late, uint64_t tag)
{
	if (tag >= LATE_TAG_HELPERS)
		helper_reap(late, &late->helpers[tag - LATE_TAG_HELPERS]);
	else if (tag == LATE_TAG_EVENTS)
		read_events(late);
	else if (tag == LATE_TAG_WAKE)
		on_wake(late);
	else if (tag == LATE_TAG_WATCHDOG)
		on_watchdog(late);
}

static void turn(struct late *late)
{
	struct epoll_event events[32];
	bool is_pending = atomic_load(&late->shared->pending) > 0;
	int n = epoll_wait(late->epoll_fd, events, 32, is_pending ? 1 : -1);

	/* Without events nobody is let go: then all are, and no more are held. */
	if (n < 0 && errno != EINTR) {
		late->fanotify_fd = close_fd(late->fanotify_fd);
		atomic_store(&late->shared->off, 1);
	}
	atomic_fetch_add(&late->shared->beat, 1);
	/* Reports first: the reader of events must know who let go, and why a helper ended. */
	read_reports(late);
	for (int i = 0; i < n; i++)
		dispatch(late, events[i].data.u64);
	if (is_pending)
		check_pending(late);
	if (atomic_load(&late->shared->off))
		on_off(late);
}

static int add_to_epoll(struct late *late, int fd, uint64_t tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};

	return epoll_ctl(late->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static int start(struct late *late)
{
	int r = late_open(late);

	if (r == 0 && (add_to_epoll(late, late->fanotify_fd, LATE_TAG_EVENTS) < 0 ||
		       add_to_epoll(late, late->report_read, LATE_TAG_REPORTS) < 0 ||
		       add_to_epoll(late, late->wake_fd, LATE_TAG_WAKE) < 0))
		r = -errno;
	return r;
}

void *late_reader_main(void *arg)
{
	struct late *late = arg;
	int r;

	late->fanotify_fd = -1;
	r = start(late);
	pthread_mutex_lock(&late->lock);
	late->started = r;
	pthread_cond_broadcast(&late->done);
	pthread_mutex_unlock(&late->lock);
	while (r == 0 && !atomic_load(&late->stop))
		turn(late);
	late_close(late);
	late_end_requests(late);
	late_forget_watches(late);
	return NULL;
}
