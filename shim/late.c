/* SPDX-License-Identifier: MIT */
/*
 * The reader of fanotify events; see late.h.
 */
#include "shim/late.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "shim/late_catch.h"

#define HELPERS_MAX 128u
/* An opener that its helper cannot seize in this time holds what the helper waits for. */
#define PATIENCE_MS 100

/* A watched file; @fd keeps its inode and is how the mark is taken back. */
struct watch {
	struct list node;
	dev_t dev;
	ino_t ino;
	int fd;
	unsigned int refs;
};

/* An opener on its way. @event_fd is -1 once its open was let go. */
struct catching {
	pid_t tid, helper;
	int event_fd, report_fd;
	int64_t patience;
	bool told; /* how it ended */
};

struct late {
	const struct late_ops *ops;
	void *data;
	int fan_fd, stop_fd;
	pthread_t reader;
	pthread_mutex_t lock; /* guards watches, and the list of catches */
	struct list watches;
	struct catching catching[HELPERS_MAX];
	unsigned int cnt;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void allow(struct late *late, int event_fd)
{
	struct fanotify_response response = {.fd = event_fd, .response = FAN_ALLOW};

	(void)!write(late->fan_fd, &response, sizeof(response));
	close_fd(event_fd);
}

static _Noreturn void helper_main(struct late *late, pid_t tid, int report_fd)
{
	late->ops->enter(&report_fd, late->data);
	late_catch(tid, report_fd, late->ops, late->data);
	_exit(0);
}

/* Have a helper meet the opener. */
static void start_helper(struct late *late, pid_t tid, int event_fd)
{
	struct catching *catching = &late->catching[late->cnt];
	int fds[2];
	pid_t pid;

	if (late->cnt == HELPERS_MAX ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		allow(late, event_fd);
		late->ops->ended(tid, LATE_MISSED, "too many processes start at once", late->data);
		return;
	}
	pid = fork();
	if (pid == 0)
		helper_main(late, tid, fds[1]);
	close_fd(fds[1]);
	if (pid < 0) {
		close_fd(fds[0]);
		allow(late, event_fd);
		late->ops->ended(tid, LATE_MISSED, "no process could be made to catch it",
				 late->data);
		return;
	}
	pthread_mutex_lock(&late->lock);
	*catching = (struct catching){.tid = tid,
				      .helper = pid,
				      .event_fd = event_fd,
				      .report_fd = fds[0],
				      .patience = now_ms() + PATIENCE_MS};
	late->cnt++;
	pthread_mutex_unlock(&late->lock);
}

/* Opened before and still in the hands of a helper, which sees this open too. */
static bool is_followed(const struct late *late, pid_t tid)
{
	for (unsigned int i = 0; i < late->cnt; i++)
		if (late->catching[i].tid == tid && !late->catching[i].told)
			return true;
	return false;
}

static void read_events(struct late *late)
{
	struct fanotify_event_metadata buf[64], *event = buf;
	ssize_t len = read(late->fan_fd, buf, sizeof(buf));

	for (; FAN_EVENT_OK(event, len); event = FAN_EVENT_NEXT(event, len)) {
		if (event->fd < 0)
			continue;
		if (!(event->mask & FAN_OPEN_PERM))
			close_fd(event->fd);
		else if (is_followed(late, event->pid))
			allow(late, event->fd);
		else if (event->pid > 0 && late->ops->wanted(event->pid, late->data))
			start_helper(late, event->pid, event->fd);
		else
			allow(late, event->fd);
	}
}

static void tell(struct late *late, struct catching *catching, enum late_end end, const char *why)
{
	if (!catching->told)
		late->ops->ended(catching->tid, end, why, late->data);
	catching->told = true;
}

/* What a helper says. Return: false when it has ended. */
static bool hear(struct late *late, struct catching *catching)
{
	char message[257];
	ssize_t len = recv(catching->report_fd, message, sizeof(message) - 1, MSG_DONTWAIT);

	if (len < 0)
		return errno == EAGAIN || errno == EINTR;
	message[len] = '\0';
	if (catching->event_fd >= 0) {
		allow(late, catching->event_fd);
		catching->event_fd = -1;
	}
	if (len == 0) {
		tell(late, catching, LATE_MISSED, "its catcher ended early");
		return false;
	}
	switch (message[0]) {
	case LATE_WORD_PATCHED:
		tell(late, catching, LATE_PATCHED, "");
		break;
	case LATE_WORD_UNUSED:
		tell(late, catching, LATE_UNUSED, "");
		break;
	case LATE_WORD_MISSED:
		tell(late, catching, LATE_MISSED, message + 1);
		break;
	default:
		break;
	}
	return true;
}

static void forget(struct late *late, unsigned int index)
{
	struct catching *catching = &late->catching[index];

	close_fd(catching->report_fd);
	/* The other end is closed by its exit: there is nothing to wait for. */
	waitpid(catching->helper, NULL, 0);
	pthread_mutex_lock(&late->lock);
	late->catching[index] = late->catching[--late->cnt];
	pthread_mutex_unlock(&late->lock);
}

/* Openers whose helpers wait for what the opener itself holds go on. */
static int lose_patience(struct late *late)
{
	int64_t now = now_ms(), next = -1;

	for (unsigned int i = 0; i < late->cnt; i++) {
		struct catching *catching = &late->catching[i];

		if (catching->event_fd < 0)
			continue;
		if (catching->patience > now) {
			if (next < 0 || catching->patience - now < next)
				next = catching->patience - now;
			continue;
		}
		allow(late, catching->event_fd);
		catching->event_fd = -1;
	}
	return (int)next;
}

static void *reader_main(void *arg)
{
	struct late *late = arg;
	struct pollfd fds[2 + HELPERS_MAX];

	for (;;) {
		unsigned int cnt = late->cnt;
		int timeout = lose_patience(late);

		fds[0] = (struct pollfd){.fd = late->fan_fd, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = late->stop_fd, .events = POLLIN};
		for (unsigned int i = 0; i < cnt; i++)
			fds[2 + i] = (struct pollfd){.fd = late->catching[i].report_fd,
						     .events = POLLIN};
		if (poll(fds, 2 + cnt, timeout) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		/* From the last: forgetting one moves the last into its place. */
		for (unsigned int i = cnt; i-- > 0;)
			if (fds[2 + i].revents && !hear(late, &late->catching[i]))
				forget(late, i);
		if (fds[0].revents & POLLIN)
			read_events(late);
	}
	return NULL;
}

static int start_reader(struct late *late)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&late->reader, NULL, reader_main, late);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int late_new(const struct late_ops *ops, void *data, struct late **ret_late)
{
	struct late *late = calloc(1, sizeof(*late));
	int r = 0;

	if (!late)
		return -ENOMEM;
	late->ops = ops;
	late->data = data;
	list_init(&late->watches);
	pthread_mutex_init(&late->lock, NULL);
	late->stop_fd = eventfd(0, EFD_CLOEXEC);
	late->fan_fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK |
					     FAN_REPORT_TID | FAN_UNLIMITED_QUEUE,
				     O_RDONLY | O_CLOEXEC | O_LARGEFILE);
	if (late->fan_fd < 0 || late->stop_fd < 0)
		r = -errno;
	if (r == 0)
		r = start_reader(late);
	if (r < 0) {
		close_fd(late->fan_fd);
		close_fd(late->stop_fd);
		free(late);
		return r;
	}
	*ret_late = late;
	return 0;
}

struct late *late_free(struct late *late)
{
	struct watch *watch, *tmp;
	uint64_t one = 1;

	if (!late)
		return NULL;
	(void)!write(late->stop_fd, &one, sizeof(one));
	pthread_join(late->reader, NULL);
	/* Whoever still waits in an open goes on with this. */
	close_fd(late->fan_fd);
	for (unsigned int i = 0; i < late->cnt; i++) {
		close_fd(late->catching[i].event_fd);
		close_fd(late->catching[i].report_fd);
	}
	list_for_each_safe(watch, tmp, &late->watches, node)
	{
		close_fd(watch->fd);
		list_remove(&watch->node);
		free(watch);
	}
	close_fd(late->stop_fd);
	free(late);
	return NULL;
}

static pid_t status_number(pid_t pid, const char *key)
{
	char path[40], line[128];
	pid_t number = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = fopen(path, "re");
	while (status && fgets(line, sizeof(line), status))
		if (strncmp(line, key, strlen(key)) == 0)
			number = atoi(line + strlen(key));
	if (status)
		fclose(status);
	return number;
}

void late_let_go(struct late *late, pid_t pid)
{
	const struct timespec nap = {.tv_nsec = 200000};
	pid_t tid = 0;

	pthread_mutex_lock(&late->lock);
	for (unsigned int i = 0; i < late->cnt; i++) {
		if (late->catching[i].told || status_number(late->catching[i].tid, "Tgid:") != pid)
			continue;
		tid = late->catching[i].tid;
		late->catching[i].told = true;
		/* Still our child: it is waited for after it has left the list. */
		kill(late->catching[i].helper, SIGKILL);
	}
	pthread_mutex_unlock(&late->lock);
	for (int i = 0; tid && i < 1000 && status_number(tid, "TracerPid:"); i++)
		nanosleep(&nap, NULL);
}

static struct watch *find_watch(struct late *late, dev_t dev, ino_t ino)
{
	struct watch *watch;

	list_for_each(watch, &late->watches,
		      node) if (watch->dev == dev && watch->ino == ino) return watch;
	return NULL;
}

static int mark(struct late *late, unsigned int what, int fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fanotify_mark(late->fan_fd, what, FAN_OPEN_PERM, AT_FDCWD, path) < 0 ? -errno : 0;
}

int late_watch(struct late *late, int file_fd, struct reason *reason)
{
	struct watch *watch;
	struct stat st;
	int r = 0;

	if (fstat(file_fd, &st) < 0)
		return -errno;
	pthread_mutex_lock(&late->lock);
	watch = find_watch(late, st.st_dev, st.st_ino);
	if (watch) {
		watch->refs++;
		pthread_mutex_unlock(&late->lock);
		return 0;
	}
	watch = calloc(1, sizeof(*watch));
	if (watch) {
		*watch = (struct watch){.dev = st.st_dev,
					.ino = st.st_ino,
					.fd = fcntl(file_fd, F_DUPFD_CLOEXEC, 0),
					.refs = 1};
		r = watch->fd < 0 ? -errno : mark(late, FAN_MARK_ADD, watch->fd);
	}
	if (watch && r == 0)
		list_append(&late->watches, &watch->node);
	pthread_mutex_unlock(&late->lock);
	if (!watch)
		return -ENOMEM;
	if (r < 0) {
		close_fd(watch->fd);
		free(watch);
		return reason_set(reason, r,
				  "processes that load the file later cannot be caught: %s",
				  strerrordesc_np(-r));
	}
	return 0;
}

void late_unwatch(struct late *late, dev_t dev, ino_t ino)
{
	struct watch *watch;

	pthread_mutex_lock(&late->lock);
	watch = find_watch(late, dev, ino);
	if (watch && --watch->refs == 0) {
		mark(late, FAN_MARK_REMOVE, watch->fd);
		list_remove(&watch->node);
		close_fd(watch->fd);
		free(watch);
	}
	pthread_mutex_unlock(&late->lock);
}
