/* SPDX-License-Identifier: MIT */
/*
 * Threads that take turns at a listener.
 *
 * One of them, the leader, waits for the next notification. When a call is decided by its registers
 * alone the leader answers it and waits again; for any other it lets the next thread lead and
 * carries out the call itself. So a call never changes threads, which costs more than most calls
 * do, and a call that takes long, or never ends, holds up nobody. When all threads are busy the
 * leader goes on leading: calls queue up, but those that threads may be waiting for are answered.
 */
#pragma once

struct tenant;
struct crew;

/**
 * crew_new() - start serving @tenant's listener
 * @max_threads: calls under way at the same time
 *
 * Return: 0 or -errno.
 */
int crew_new(struct tenant *tenant, unsigned int max_threads, struct crew **ret_crew);

/**
 * crew_stop() - no call is received any more; call when nobody is left under the filter
 *
 * Return: 0 when every thread has let go of the tenant, -ETIMEDOUT when one still sits in a call
 * after @timeout_ms: then the tenant must stay valid until the process ends.
 */
int crew_stop(struct crew *crew, int timeout_ms);
