/* SPDX-License-Identifier: MIT */
/*
 * Where numbers come from. Each number a register or a stack slot holds has an origin: a node that
 * names the origins it was computed from. When a proof comes to depend on a number (it becomes an
 * offset, a size, it decides a branch), its origin is marked with all that it came from; a
 * remembered state knows by the marks which of its numbers another state must agree with.
 *
 * The kernel finds the same by walking instructions backwards (mark_chain_precision(),
 * kernel/bpf/verifier.c, Linux 6.12); to note origins on the way costs less and cannot miss one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/** origin 0: of nothing that was remembered: a constant, what was read from memory */
#define ORIGIN_NONE 0u

struct origin {
	uint32_t a : 31, marked : 1;
	uint32_t b;
};

/**
 * struct origins - all nodes of one verification
 * @failed: memory ran out; what was returned since is of no use
 */
struct origins {
	struct origin *nodes;
	uint32_t cnt, cap;
	uint32_t *todo;
	uint32_t todo_cap;
	bool failed;
};

/** origin_new() - a node of its own that came from @from */
uint32_t origin_new(struct origins *origins, uint32_t from);
/** origin_join() - of what came from both */
uint32_t origin_join(struct origins *origins, uint32_t a, uint32_t b);
/** origin_mark() - @origin and all it came from. Return: whether it was not marked yet */
bool origin_mark(struct origins *origins, uint32_t origin);
static inline bool origin_is_marked(const struct origins *origins, uint32_t origin)
{
	return origin && origins->nodes[origin].marked;
}
void origins_deinit(struct origins *origins);
