/* SPDX-License-Identifier: MIT */
/* Shared by both halves of tails.c: what is counted, and the entries of the program array. */
#pragma once

enum {
	TAILS_ENTERED,
	TAILS_FAILED, /* the call went on behind bpf_tail_call() */
	TAILS_A,
	TAILS_B,
	TAILS_LOOP,  /* runs of a program that goes on as itself */
	TAILS_LIMIT, /* and had to stop */
	TAILS_BACK,  /* what a function returned that went on as A */
	TAILS_LATE,  /* of what is put in while calls stream */
	TAILS_LATER,
	TAILS_RESULTS
};

enum {
	STEP_A,
	STEP_B,
	STEP_NONE,
	STEP_LOOP,
	STEP_FUNCTION,
	STEP_HASH,
	STEP_CHANGES,
	STEP_STEPS = 8
};

#define TAILS_ANSWER 7 /* of A */
