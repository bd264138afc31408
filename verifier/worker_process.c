/* SPDX-License-Identifier: MIT */
/*
 * Starts, ends and buries the worker's process. The daemon has many threads: between fork and exec
 * the child makes system calls only.
 */
#include "verifier/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "verifier/worker_proto.h"

#define KILL_MS	   1000
#define STACK_SIZE (128u << 10)

/**
 * struct process - @lock covers what follows it
 * @changed: @pid, @wanted, @quit or @error is new
 * @pid: 0 while none runs
 * @wanted: the thread shall start one
 * @started: how many there have been
 * @error: of the last start
 * @status: of the last one that ended, as waitpid() gives it
 */
struct process {
	int exe_fd, nice;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pid_t pid;
	int socket;
	bool wanted, quit;
	int error, status;
	unsigned started;
};

/* In the child: descriptor 3, no mask, nothing else that is open; then never returns. */
static _Noreturn void become_worker(int exe_fd, int socket)
{
	static char name[] = "bpfshim-worker";
	char *const argv[] = {name, NULL}, *const envp[] = {NULL};
	sigset_t none;

	/* Out of the way first: either may be descriptor 3. */
	exe_fd = fcntl(exe_fd, F_DUPFD_CLOEXEC, WORKER_SOCKET + 1);
	socket = fcntl(socket, F_DUPFD_CLOEXEC, WORKER_SOCKET + 1);
	if (exe_fd >= 0 && socket >= 0 && dup2(socket, WORKER_SOCKET) == WORKER_SOCKET &&
	    close_range(WORKER_SOCKET + 1, ~0u, CLOSE_RANGE_CLOEXEC) == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		syscall(SYS_execveat, exe_fd, "", argv, envp, AT_EMPTY_PATH);
	}
	_exit(127);
}

/*
 * A process that is the first of its own pid namespace, or an ordinary one without the right to
 * make one. The raw call runs no handlers of the C library's; the child needs none.
 */
static pid_t fork_alone(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);

	return pid < 0 && errno == EPERM ? fork() : pid;
}

/* Return: pid or -errno. */
static pid_t spawn(int exe_fd, int *ret_socket)
{
	int sockets[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	pid = fork_alone();
	if (pid == 0)
		become_worker(exe_fd, sockets[1]);
	if (pid < 0) {
		pid = -errno;
		close_fd(sockets[0]);
	} else {
		*ret_socket = sockets[0];
	}
	close_fd(sockets[1]);
	return pid;
}

/* Called and left with the lock held; without it while the process runs. */
static void run_one(struct process *p)
{
	int status = 0;
	pid_t pid;

	p->wanted = false;
	pid = spawn(p->exe_fd, &p->socket);
	p->error = pid < 0 ? (int)pid : 0;
	p->pid = pid < 0 ? 0 : pid;
	p->started++;
	pthread_cond_broadcast(&p->changed);
	if (pid < 0)
		return;
	pthread_mutex_unlock(&p->lock);
	/* Not reaped yet, so that whoever holds the lock may still signal it. */
	while (waitid(P_PID, (id_t)pid, NULL, WEXITED | WNOWAIT) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&p->lock);
	waitpid(pid, &status, 0);
	p->status = status;
	p->pid = 0;
	p->socket = close_fd(p->socket);
	pthread_cond_broadcast(&p->changed);
}

static void *keep(void *data)
{
	struct process *p = data;

	/* Each thread has its own, and a child that of the thread that made it. */
	if (p->nice)
		setpriority(PRIO_PROCESS, (id_t)gettid(),
			    getpriority(PRIO_PROCESS, (id_t)gettid()) + p->nice);
	pthread_mutex_lock(&p->lock);
	while (!p->quit) {
		if (p->wanted)
			run_one(p);
		else
			pthread_cond_wait(&p->changed, &p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int start_thread(struct process *p)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	/* The daemon's signals are for its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&p->thread, &attr, keep, p);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int process_new(int exe_fd, int nice, struct process **ret_process)
{
	struct process *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->exe_fd = exe_fd;
	p->nice = nice;
	p->socket = -1;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	r = start_thread(p);
	if (r < 0) {
		free(p);
		return r;
	}
	*ret_process = p;
	return 0;
}

struct process *process_free(struct process *p)
{
	if (!p)
		return NULL;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	if (p->pid)
		kill(p->pid, SIGKILL);
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

/* With the lock held. */
static void want(struct process *p)
{
	if (p->pid || p->wanted)
		return;
	p->wanted = true;
	p->error = 0;
	pthread_cond_broadcast(&p->changed);
}

void process_want(struct process *p)
{
	pthread_mutex_lock(&p->lock);
	want(p);
	pthread_mutex_unlock(&p->lock);
}

int process_socket(struct process *p, const struct timespec *until)
{
	unsigned before;
	int r = 0;

	pthread_mutex_lock(&p->lock);
	before = p->started;
	want(p);
	while (!p->pid && p->started == before && r == 0)
		r = -pthread_cond_timedwait(&p->changed, &p->lock, until);
	if (p->pid) {
		r = fcntl(p->socket, F_DUPFD_CLOEXEC, 0);
		r = r < 0 ? -errno : r;
	} else if (p->started != before) {
		r = p->error ? p->error : -EPIPE;
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

static void describe(int status, struct reason *what)
{
	if (WIFSIGNALED(status))
		reason_set(what, 0, "killed by signal %d (%s)", WTERMSIG(status),
			   sigdescr_np(WTERMSIG(status)));
	else
		reason_set(what, 0, "ended with status %d", WEXITSTATUS(status));
}

void process_kill(struct process *p, struct reason *what)
{
	struct timespec until;
	int r = 0;

	deadline_in(KILL_MS, &until);
	pthread_mutex_lock(&p->lock);
	if (p->pid)
		kill(p->pid, SIGKILL);
	while (p->pid && r == 0)
		r = -pthread_cond_timedwait(&p->changed, &p->lock, &until);
	if (p->pid)
		reason_set(what, 0, "does not end");
	else
		describe(p->status, what);
	pthread_mutex_unlock(&p->lock);
}
