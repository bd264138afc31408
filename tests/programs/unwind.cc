/* SPDX-License-Identifier: MIT */
/*
 * Exceptions, ending threads and backtraces through functions that are probed at their return. The
 * language is what throws; everything is checked by the program itself.
 *
 * usage: unwind [-n ROUNDS] [-t THREADS] [-s SECONDS]
 *   -n  rounds of each thread (default 100)
 *   -t  threads (default 1)
 *   -s  go on for as long instead
 */
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <execinfo.h>
#include <pthread.h>
#include <unistd.h>

#define OPAQUE __attribute__((noinline, noipa))
#define FRAMES 20

static volatile bool stop;
static unsigned long rounds = 100;
static long seconds;

extern "C" {
long unwind_inner(long n);
long unwind_middle(long n);
long unwind_deep(long depth, long n);
long unwind_catch(long n);
long unwind_rethrow(long n);
int unwind_frames(long depth);
void unwind_leave(long *left);
}

OPAQUE long unwind_inner(long n)
{
	if (n % 3 == 0)
		throw std::runtime_error("a third");
	return n + 1;
}

OPAQUE long unwind_middle(long n)
{
	return unwind_inner(n) * 2;
}

OPAQUE long unwind_deep(long depth, long n)
{
	return (depth ? unwind_deep(depth - 1, n) : unwind_middle(n)) + 1;
}

OPAQUE long unwind_catch(long n)
{
	try {
		return unwind_deep(n % FRAMES, n);
	} catch (const std::exception &) {
		return -1;
	}
}

OPAQUE long unwind_rethrow(long n)
{
	try {
		return unwind_middle(n);
	} catch (...) {
		if (n % 2)
			throw;
		return -2;
	}
}

OPAQUE int unwind_frames(long depth)
{
	void *frames[2 * FRAMES];

	return depth ? unwind_frames(depth - 1) + (depth < 0)
		     : backtrace(frames, 2 * FRAMES);
}

struct counted {
	long *counter;
	~counted()
	{
		__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
	}
};

OPAQUE void unwind_leave(long *left)
{
	counted on_the_way{left};

	pthread_exit(nullptr);
}

static void check(bool right, const char *what, long n)
{
	if (right)
		return;
	fprintf(stderr, "%s is wrong in round %ld\n", what, n);
	abort();
}

static long rethrown(long n)
{
	try {
		return unwind_rethrow(n);
	} catch (const std::runtime_error &) {
		return -3;
	}
}

static void round_of(long n)
{
	bool throws = n % 3 == 0;

	check(unwind_catch(n) == (throws ? -1 : (n + 1) * 2 + n % FRAMES + 1), "catch", n);
	check(rethrown(n) == (!throws ? (n + 1) * 2 : n % 2 ? -3 : -2), "rethrow", n);
	if (n % 16 == 0)
		check(unwind_frames(FRAMES) > FRAMES + 2, "backtrace", n);
}

static void *run(void *left)
{
	/* One for each of its own calls, for this and for those that called it. */
	int frames = unwind_frames(FRAMES);

	check(frames > FRAMES + 2, "number of frames", frames);
	for (unsigned long i = 0; seconds ? !stop : i < rounds; i++)
		round_of((long)i);
	unwind_leave(static_cast<long *>(left));
	return nullptr;
}

int main(int argc, char **argv)
{
	long threads = 1, left = 0;
	pthread_t ids[16];
	int opt;

	while ((opt = getopt(argc, argv, "n:t:s:")) != -1) {
		switch (opt) {
		case 'n':
			rounds = strtoul(optarg, nullptr, 10);
			break;
		case 't':
			threads = atol(optarg);
			break;
		default:
			seconds = atol(optarg);
		}
	}
	check(threads <= 16, "number of threads", threads);
	for (long i = 0; i < threads; i++)
		check(pthread_create(&ids[i], nullptr, run, &left) == 0, "thread", i);
	if (seconds)
		sleep((unsigned int)seconds);
	stop = true;
	for (long i = 0; i < threads; i++)
		pthread_join(ids[i], nullptr);
	printf("%ld threads left by unwinding\n", left);
	return left != threads;
}
