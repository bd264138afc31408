/* SPDX-License-Identifier: MIT */
/*
 * The second tier of programs. A worker that hangs, crashes or finds no memory here costs nobody
 * anything: the program keeps its first code. The worker's process is ended when there has been
 * nothing to do for a while, for the memory that LLVM takes.
 */
#include "notifier/uspace_tier.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "notifier/tenant.h"
#include "notifier/uspace_targets.h"

#define NICE	   19
#define IDLE_MS	   3000
#define STOP_MS	   20
#define STACK_SIZE (128u << 10)

/* @prog: a reference */
struct wish {
	struct list node;
	struct uspace_prog *prog;
};

/**
 * struct tiers - @lock covers what follows it
 * @changed: @wishes or @quit is new
 * @running: there is a thread, which starts with the first wish
 */
struct tiers {
	struct uspace *uspace;
	int timeout_ms;
	struct worker *worker;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct list wishes;
	bool running, quit;
};

int tiers_new(struct uspace *uspace, int exe_fd, int timeout_ms, struct tiers **ret_tiers)
{
	struct tiers *tiers = calloc(1, sizeof(*tiers));
	int r;

	if (!tiers)
		return -ENOMEM;
	tiers->uspace = uspace;
	tiers->timeout_ms = timeout_ms;
	r = worker_new(exe_fd, NICE, &tiers->worker);
	if (r < 0) {
		free(tiers);
		return r;
	}
	pthread_mutex_init(&tiers->lock, NULL);
	pthread_cond_init(&tiers->changed, NULL);
	list_init(&tiers->wishes);
	*ret_tiers = tiers;
	return 0;
}

/* Have it compiled once more, as it was accepted. */
static int compile(struct tiers *tiers, const struct cache_entry *entry,
		   struct worker_answer *ret_answer, struct reason *reason)
{
	struct worker_request request = entry->request;
	int r;

	request.task = WORKER_AGAIN;
	request.log_level = request.log_size = 0;
	r = worker_ask(tiers->worker, &request, tiers->timeout_ms, ret_answer, reason);
	if (r == 0 && !ret_answer->code) {
		r = reason_set(reason, -EOPNOTSUPP, "%s", ret_answer->no_code.text);
		worker_answer_deinit(ret_answer);
	}
	return r;
}

/* Unless the same was loaded twice, and has it by now. */
static int improve(struct tiers *tiers, struct uspace_prog *prog, struct reason *reason)
{
	const struct worker_answer *full = cache_full(prog->entry);
	struct worker_answer answer;
	int r;

	if (full)
		return uspace_prog_replace(prog, full, reason);
	r = compile(tiers, prog->entry, &answer, reason);
	if (r < 0)
		return r;
	r = uspace_prog_replace(prog, &answer, reason);
	if (r == 0)
		cache_add_full(prog->entry, &answer);
	worker_answer_deinit(&answer);
	return r;
}

/* With the lock held, which is given up meanwhile. */
static void fulfil(struct tiers *tiers, struct wish *wish)
{
	struct uspace_prog *prog = wish->prog;
	struct reason reason = {0};
	int r;

	list_remove(&wish->node);
	pthread_mutex_unlock(&tiers->lock);
	r = improve(tiers, prog, &reason);
	prog->entry = cache_entry_unref(prog->entry);
	uspace_prog_unref(prog);
	free(wish);
	pthread_mutex_lock(&tiers->lock);
	if (r < 0 && !tiers->quit)
		log_notice("tenant=%s: a program goes on with its first code: %s",
			   tiers->uspace->tenant->name,
			   reason.text[0] ? reason.text : strerrordesc_np(-r));
}

static void *work(void *data)
{
	struct tiers *tiers = data;
	struct timespec until;
	bool warm = false;

	pthread_mutex_lock(&tiers->lock);
	while (!tiers->quit) {
		struct wish *wish = NULL;

		if (!list_empty(&tiers->wishes))
			wish = list_entry(tiers->wishes.next, struct wish, node);
		if (wish) {
			warm = true;
			fulfil(tiers, wish);
		} else if (!warm) {
			pthread_cond_wait(&tiers->changed, &tiers->lock);
		} else {
			deadline_in(IDLE_MS, &until);
			if (pthread_cond_timedwait(&tiers->changed, &tiers->lock, &until) !=
			    ETIMEDOUT)
				continue;
			worker_stop(tiers->worker);
			warm = false;
		}
	}
	pthread_mutex_unlock(&tiers->lock);
	return NULL;
}

/* With the lock held. */
static int start_thread(struct tiers *tiers)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	if (tiers->running)
		return 0;
	/* The daemon's signals are for its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&tiers->thread, &attr, work, tiers);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	tiers->running = r == 0;
	return -r;
}

void tiers_want(struct tiers *tiers, struct uspace_prog *prog)
{
	struct wish *wish = calloc(1, sizeof(*wish));

	pthread_mutex_lock(&tiers->lock);
	/* Without memory it goes without. */
	if (!wish || prog->wanted || !prog->entry || start_thread(tiers) < 0) {
		free(wish);
	} else {
		prog->wanted = true;
		wish->prog = uspace_prog_ref(prog);
		list_append(&tiers->wishes, &wish->node);
		pthread_cond_signal(&tiers->changed);
	}
	pthread_mutex_unlock(&tiers->lock);
}

/* It may be about to ask its worker, or to start one. */
static void end_thread(struct tiers *tiers)
{
	struct timespec until;

	pthread_mutex_lock(&tiers->lock);
	tiers->quit = true;
	pthread_cond_signal(&tiers->changed);
	pthread_mutex_unlock(&tiers->lock);
	do {
		worker_stop(tiers->worker);
		deadline_in(STOP_MS, &until);
	} while (pthread_timedjoin_np(tiers->thread, NULL, &until) == ETIMEDOUT);
}

struct tiers *tiers_free(struct tiers *tiers)
{
	struct wish *wish, *tmp;

	if (!tiers)
		return NULL;
	if (tiers->running)
		end_thread(tiers);
	list_for_each_safe(wish, tmp, &tiers->wishes, node)
	{
		list_remove(&wish->node);
		uspace_prog_unref(wish->prog);
		free(wish);
	}
	worker_free(tiers->worker);
	pthread_cond_destroy(&tiers->changed);
	pthread_mutex_destroy(&tiers->lock);
	free(tiers);
	return NULL;
}
