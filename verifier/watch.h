/* SPDX-License-Identifier: MIT */
/*
 * For tests: what the verifier claims at each step, to be held against a program that runs. Every
 * path is walked; none is left out because it agrees with another one where that matters, so what
 * is claimed of a register holds whether it matters or not.
 */
#pragma once

#include "verifier/state.h"
#include "verifier/verifier.h"

/**
 * struct verifier_watch
 * @state: called with the state before instruction @at, each time it is walked. Anything but 0 ends
 *	the walk with that error.
 */
struct verifier_watch {
	int (*state)(void *data, uint32_t at, const struct state *state);
	void *data;
};

/** verifier_watch() - verifier_check(), watched; more is walked, so -E2BIG comes sooner */
int verifier_watch(const struct verifier_prog *prog, struct verifier_log *log,
		   const struct verifier_watch *watch, struct verifier_facts *ret_facts);
