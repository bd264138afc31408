/* SPDX-License-Identifier: MIT */
/*
 * The event loop: one thread, level-triggered epoll. Sources may be added from any thread; they are
 * removed and freed by the loop's thread only, so a callback never sees a dead source.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;

/**
 * struct loop_source - a descriptor and what to do when it is ready
 * @fd: not owned
 * @fn: called in the loop's thread with the EPOLL* bits; may remove this source
 */
struct loop_source {
	int fd;
	void (*fn)(struct loop_source *source, uint32_t events);
};

int loop_new(struct loop **ret_loop);
struct loop *loop_free(struct loop *loop);

/** loop_add() - watch a source; EPOLLHUP and EPOLLERR are always reported. Return: 0 or -errno. */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events);

/** loop_remove() - stop watching; call before closing the descriptor, in the loop's thread */
void loop_remove(struct loop *loop, struct loop_source *source);

/** loop_run() - dispatch until loop_stop(). Return: 0 or -errno. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
