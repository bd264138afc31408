/* SPDX-License-Identifier: MIT */
/*
 * See origin.h.
 */
#include "verifier/origin.h"

#include <stdlib.h>

#define FIRST_CAP 1024u

static uint32_t add(struct origins *origins, uint32_t a, uint32_t b)
{
	if (origins->cnt == origins->cap) {
		uint32_t cap = origins->cap ? origins->cap * 2 : FIRST_CAP;
		struct origin *grown =
			cap >> 31 ? NULL : realloc(origins->nodes, cap * sizeof(*grown));

		if (!grown) {
			origins->failed = true;
			return ORIGIN_NONE;
		}
		origins->nodes = grown;
		origins->cap = cap;
		/* Node 0 is nobody's. */
		if (!origins->cnt)
			origins->nodes[origins->cnt++] = (struct origin){0};
	}
	origins->nodes[origins->cnt] = (struct origin){.a = a, .b = b};
	return origins->cnt++;
}

uint32_t origin_new(struct origins *origins, uint32_t from)
{
	return add(origins, from, ORIGIN_NONE);
}

uint32_t origin_join(struct origins *origins, uint32_t a, uint32_t b)
{
	if (a == b || b == ORIGIN_NONE)
		return a;
	return a == ORIGIN_NONE ? b : add(origins, a, b);
}

/* Room for one more to visit. */
static bool make_room(struct origins *origins, uint32_t cnt)
{
	uint32_t cap = origins->todo_cap ? origins->todo_cap * 2 : FIRST_CAP, *grown;

	if (cnt < origins->todo_cap)
		return true;
	grown = realloc(origins->todo, cap * sizeof(*grown));
	if (!grown) {
		origins->failed = true;
		return false;
	}
	origins->todo = grown;
	origins->todo_cap = cap;
	return true;
}

bool origin_mark(struct origins *origins, uint32_t origin)
{
	const bool is_new = origin && !origins->nodes[origin].marked;
	uint32_t cnt = 0;

	/* What is marked has all that it came from marked. */
	for (;;) {
		while (origin && !origins->nodes[origin].marked) {
			struct origin *node = &origins->nodes[origin];

			node->marked = 1;
			if (node->b) {
				if (!make_room(origins, cnt))
					return true;
				origins->todo[cnt++] = node->b;
			}
			origin = node->a;
		}
		if (!cnt)
			return is_new;
		origin = origins->todo[--cnt];
	}
}

void origins_deinit(struct origins *origins)
{
	free(origins->nodes);
	free(origins->todo);
	*origins = (struct origins){0};
}
