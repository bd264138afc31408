/* SPDX-License-Identifier: MIT */
/* Shared by both halves of inner.c. */
#pragma once

enum {
	INNER_ENTERED,
	INNER_NONE, /* nothing stood in the map of maps */
	INNER_MISS, /* no such element in what did */
	INNER_LATE, /* counted by a program that was put in late, in an array of its own */
	INNER_RESULTS
};

#define INNER_SLOTS 8 /* of the outer array; calls are spread over them */
#define INNER_KEYS  16
