/* SPDX-License-Identifier: MIT */
/*
 * See pid_set.h.
 */
#include "notifier/pid_set.h"

#include <errno.h>
#include <stdlib.h>

int pid_set_add(pid_t pid, void *data)
{
	struct pid_set *set = data;

	for (uint32_t i = 0; i < set->cnt; i++)
		if (set->pids[i] == pid)
			return 0;
	if (set->cnt == set->cap) {
		uint32_t cap = set->cap ? set->cap * 2 : 64;
		pid_t *grown = realloc(set->pids, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		set->pids = grown;
		set->cap = cap;
	}
	set->pids[set->cnt++] = pid;
	return 0;
}
