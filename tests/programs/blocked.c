/* SPDX-License-Identifier: MIT */
/*
 * Threads that sleep in every kind of system call while their process is probed: each call must end
 * as it would have, with its own result and not before its time.
 *
 * usage: blocked SECONDS [LIBRARY]
 *   LIBRARY  late_lib.c, to be loaded and unloaded all the time
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What is probed; in the process at any rate. */
long blocked_work(long n);
__attribute__((noinline, noipa)) long blocked_work(long n)
{
	return n * 3 + 1;
}

static int pipes[2], pair[2], full[2], epoll_fd, timer_fd, sem_id, ring_fd;
static uint32_t word;
static long milliseconds;
static volatile bool stop;
static int failures;

static struct timespec for_all(void)
{
	return (struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000};
}

static long call_nanosleep(void)
{
	struct timespec t = for_all();

	return nanosleep(&t, NULL);
}

static long call_clock_nanosleep(void)
{
	struct timespec t = for_all();

	return clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static long call_poll(void)
{
	struct pollfd pfd = {.fd = pipes[0], .events = POLLIN};

	return poll(&pfd, 1, (int)milliseconds);
}

static long call_ppoll(void)
{
	struct pollfd pfd = {.fd = pipes[0], .events = POLLIN};
	struct timespec t = for_all();

	return ppoll(&pfd, 1, &t, NULL);
}

static long call_select(void)
{
	struct timeval t = {milliseconds / 1000, milliseconds % 1000 * 1000};
	fd_set set;

	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	return select(pipes[0] + 1, &set, NULL, NULL, &t);
}

static long call_epoll(void)
{
	struct epoll_event event;

	return epoll_wait(epoll_fd, &event, 1, (int)milliseconds);
}

static long call_futex(void)
{
	struct timespec t = for_all();

	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
}

static long call_sigtimedwait(void)
{
	struct timespec t = for_all();
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &t);
}

static long call_semtimedop(void)
{
	struct timespec t = for_all();
	struct sembuf op = {.sem_op = -1};

	return semtimedop(sem_id, &op, 1, &t);
}

static long call_recv(void)
{
	char byte;

	return recv(pair[0], &byte, 1, 0); /* has SO_RCVTIMEO */
}

static long call_read_timer(void)
{
	struct itimerspec t = {.it_value = for_all()};
	uint64_t ticks;

	timerfd_settime(timer_fd, 0, &t, NULL);
	return read(timer_fd, &ticks, sizeof(ticks));
}

static long call_wait(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		call_nanosleep();
		_exit(7);
	}
	return waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7 ? 0 : -1;
}

static long call_sem(void)
{
	struct timespec t;
	sem_t sem;

	sem_init(&sem, 0, 0);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += milliseconds / 1000;
	t.tv_nsec += milliseconds % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	return sem_timedwait(&sem, &t);
}

static long call_read(void)
{
	char byte;

	return read(pair[0], &byte, 1);
}

static long call_readv(void)
{
	char byte;
	struct iovec iov = {&byte, 1};

	return readv(pair[0], &iov, 1);
}

static long call_write(void)
{
	static char bytes[1 << 20];

	return write(full[0], bytes, sizeof(bytes));
}

static long call_writev(void)
{
	static char bytes[1 << 20];
	struct iovec iov = {bytes, sizeof(bytes)};

	return writev(full[0], &iov, 1);
}

/* Nothing to read there either. */
static long call_splice(void)
{
	return splice(pair[0], NULL, pipes[1], NULL, 1, 0);
}

static long call_read_inotify(void)
{
	int fd = inotify_init1(0);
	struct inotify_event event;
	pid_t child;
	long result;

	inotify_add_watch(fd, ".", IN_OPEN | IN_ONLYDIR);
	child = fork();
	if (child == 0) {
		call_nanosleep();
		_exit(open(".", O_RDONLY | O_DIRECTORY) < 0);
	}
	result = read(fd, &event, sizeof(event));
	waitpid(child, NULL, 0);
	close(fd);
	return result;
}

static long call_io_uring(void)
{
	struct __kernel_timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)&t};

	if (ring_fd < 0) { /* not everywhere */
		call_nanosleep();
		errno = ETIME;
		return -1;
	}
	return syscall(SYS_io_uring_enter, ring_fd, 0, 1,
		       IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

static const struct {
	const char *name;
	long (*call)(void);
	long result;
	int error;
} calls[] = {
	{"nanosleep", call_nanosleep, 0, 0},
	{"clock_nanosleep", call_clock_nanosleep, 0, 0},
	{"poll", call_poll, 0, 0},
	{"ppoll", call_ppoll, 0, 0},
	{"select", call_select, 0, 0},
	{"epoll_wait", call_epoll, 0, 0},
	{"futex", call_futex, -1, ETIMEDOUT},
	{"sigtimedwait", call_sigtimedwait, -1, EAGAIN},
	{"semtimedop", call_semtimedop, -1, EAGAIN},
	{"recv", call_recv, -1, EAGAIN},
	{"read of a timer", call_read_timer, sizeof(uint64_t), 0},
	{"waitpid", call_wait, 0, 0},
	{"sem_timedwait", call_sem, -1, ETIMEDOUT},
	{"read", call_read, -1, EAGAIN},
	{"readv", call_readv, -1, EAGAIN},
	{"write", call_write, -1, EAGAIN},
	{"writev", call_writev, -1, EAGAIN},
	{"splice", call_splice, -1, EAGAIN},
	{"read of inotify", call_read_inotify, sizeof(struct inotify_event), 0},
	{"io_uring_enter", call_io_uring, -1, ETIME},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void *sleeper(void *arg)
{
	const size_t nr = (size_t)arg;

	while (!stop) {
		long before = now_ms(), result;
		int error;

		errno = 0;
		result = calls[nr].call();
		error = errno;
		if (result == calls[nr].result && (result >= 0 || error == calls[nr].error) &&
		    now_ms() - before >= milliseconds - 1)
			continue;
		printf("%s: %ld, %s, after %ld of %ld ms\n", calls[nr].name, result,
		       strerrorname_np(error), now_ms() - before, milliseconds);
		__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Open what the calls need; those with a socket have their time limit from it. */
static int prepare(void)
{
	struct timeval timeout = {milliseconds / 1000, milliseconds % 1000 * 1000};
	struct io_uring_params params = {0};
	char bytes[1 << 16] = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	epoll_fd = epoll_create1(0);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, 0);
	sem_id = semget(IPC_PRIVATE, 1, 0600);
	ring_fd = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (pipe(pipes) < 0 || sem_id < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 ||
	    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, full) < 0 ||
	    setsockopt(full[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -1;
	while (send(full[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	while (send(full[0], bytes, 1, MSG_DONTWAIT) > 0)
		;
	return 0;
}

static long work_in_library(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);
	int (*status)(void) = library ? (int (*)(void))dlsym(library, "late_lib_status") : NULL;
	long failed = !status || (status(), 0);

	if (library)
		dlclose(library);
	return failed;
}

int main(int argc, char **argv)
{
	long seconds = argc > 1 ? atol(argv[1]) : 5, end, sum = 0;
	pthread_t threads[CALLS];

	milliseconds = 700;
	end = now_ms() + seconds * 1000;
	if (prepare() < 0)
		return 2;
	for (size_t i = 0; i < CALLS; i++)
		if (pthread_create(&threads[i], NULL, sleeper, (void *)i))
			return 2;
	while (now_ms() < end) {
		for (long i = 0; i < 1000; i++)
			sum += blocked_work(i);
		if (argc > 2) {
			failures += (int)work_in_library(argv[2]);
			usleep(20000);
		}
		usleep(200);
	}
	stop = true;
	for (size_t i = 0; i < CALLS; i++)
		pthread_join(threads[i], NULL);
	semctl(sem_id, 0, IPC_RMID);
	printf("%zu kinds of calls, %d failures, %s\n", CALLS, failures,
	       sum % 500 ? "a wrong sum" : "sum as it should be");
	return failures != 0;
}
