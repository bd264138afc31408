/* SPDX-License-Identifier: MIT */
/*
 * A queue and detached threads that live as long as the process.
 */
#include "notifier/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/sys.h"

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work, quiet;
	struct pool_job *first, **last;
	unsigned int queued, idle, threads, max_threads;
};

int pool_new(unsigned int max_threads, struct pool **ret_pool)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->quiet, NULL);
	pool->last = &pool->first;
	pool->max_threads = max_threads;
	*ret_pool = pool;
	return 0;
}

static void *pool_thread(void *arg);

static int pool_start_thread(struct pool *pool)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	r = pthread_create(&thread, &attr, pool_thread, pool);
	pthread_attr_destroy(&attr);
	return -r;
}

/* Called with the lock held. */
static void grow(struct pool *pool)
{
	if (pool->queued > pool->idle && pool->threads < pool->max_threads &&
	    pool_start_thread(pool) == 0)
		pool->threads++;
}

static void *pool_thread(void *arg)
{
	struct pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct pool_job *job = pool->first;

		if (!job) {
			pool->idle++;
			if (pool->idle == pool->threads)
				pthread_cond_broadcast(&pool->quiet);
			pthread_cond_wait(&pool->work, &pool->lock);
			pool->idle--;
			continue;
		}
		pool->first = job->next;
		if (!pool->first)
			pool->last = &pool->first;
		pool->queued--;
		grow(pool); /* what others queued may have started none */
		pthread_mutex_unlock(&pool->lock);
		job->fn(job);
		pthread_mutex_lock(&pool->lock);
	}
	return NULL;
}

static void enqueue(struct pool *pool, struct pool_job *job)
{
	job->next = NULL;
	*pool->last = job;
	pool->last = &job->next;
	pool->queued++;
	pthread_cond_signal(&pool->work);
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
	pthread_mutex_lock(&pool->lock);
	enqueue(pool, job);
	grow(pool);
	pthread_mutex_unlock(&pool->lock);
}

int pool_ready(struct pool *pool)
{
	int r = 0;

	pthread_mutex_lock(&pool->lock);
	if (!pool->threads)
		r = pool_start_thread(pool);
	if (r == 0 && !pool->threads)
		pool->threads++;
	pthread_mutex_unlock(&pool->lock);
	return r;
}

void pool_submit_outside(struct pool *pool, struct pool_job *job)
{
	pthread_mutex_lock(&pool->lock);
	enqueue(pool, job);
	pthread_mutex_unlock(&pool->lock);
}

int pool_drain(struct pool *pool, int timeout_ms)
{
	struct timespec until;
	int r = 0;

	deadline_in(timeout_ms, &until);
	pthread_mutex_lock(&pool->lock);
	while (r == 0 && (pool->queued || pool->idle != pool->threads))
		r = pthread_cond_timedwait(&pool->quiet, &pool->lock, &until);
	pthread_mutex_unlock(&pool->lock);
	return -r;
}
