// SPDX-License-Identifier: MIT
/*
 * Threads that work for others: whose table of descriptors they have.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "notifier/pool.h"

#define JOBS 8

struct job {
	struct pool_job job;
	int fd;
	bool found;
};

static struct job jobs[JOBS];
static struct pool *pool;

static void look(struct pool_job *pool_job)
{
	struct job *job = (struct job *)pool_job;

	usleep(20000);
	job->found = fcntl(job->fd, F_GETFD) >= 0;
}

/* Without the descriptor that the jobs look for. */
static void *outsider(void *arg)
{
	if (unshare(CLONE_FILES) < 0)
		return NULL;
	close(jobs[0].fd);
	for (int i = 0; i < JOBS; i++)
		pool_submit_outside(pool, &jobs[i].job);
	return jobs;
}

static void test_outside(void **state)
{
	pthread_t thread;
	void *result;

	assert_int_equal(pool_new(4, &pool), 0);
	assert_int_equal(pool_ready(pool), 0);
	assert_int_equal(pool_ready(pool), 0);
	for (int i = 0; i < JOBS; i++)
		jobs[i] = (struct job){.job.fn = look, .fd = i ? jobs[0].fd : dup(0)};
	assert_int_equal(pthread_create(&thread, NULL, outsider, NULL), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, jobs);
	assert_int_equal(pool_drain(pool, 5000), 0);
	for (int i = 0; i < JOBS; i++)
		assert_true(jobs[i].found);
	close(jobs[0].fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
