/* SPDX-License-Identifier: MIT */
/*
 * Threads for what takes long and nobody waits for: closing probes, serving bpfshimctl. Calls have
 * their own threads (crew.h).
 */
#pragma once

struct pool;

/**
 * struct pool_job - embed in what is to be worked on
 * @fn: runs in a pool thread; owns the job from then on
 */
struct pool_job {
	struct pool_job *next;
	void (*fn)(struct pool_job *job);
};

/** pool_new() - @max_threads are started one by one as jobs find no idle thread */
int pool_new(unsigned int max_threads, struct pool **ret_pool);

/** pool_submit() - queue a job; never blocks, never fails (it runs late when threads are short) */
void pool_submit(struct pool *pool, struct pool_job *job);

/**
 * pool_submit_outside() - the same from a thread that has a table of descriptors of its own
 *
 * A thread that it started would share that table. So there must be one: pool_ready(), which starts
 * it if there is none. Return: 0 or -errno.
 */
void pool_submit_outside(struct pool *pool, struct pool_job *job);
int pool_ready(struct pool *pool);

/** pool_drain() - wait up to @timeout_ms until nothing is queued or running. Return: 0 or
 * -ETIMEDOUT */
int pool_drain(struct pool *pool, int timeout_ms);
