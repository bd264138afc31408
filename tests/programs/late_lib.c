/* SPDX-License-Identifier: MIT */
/*
 * A library that is probed: see late_target.c.
 */
#include "tests/programs/late_answer.h"

LATE_DEFINE_ANSWER;

int late_lib_status(void);

static int first;

__attribute__((constructor)) static void remember(void)
{
	first = late_answer();
}

int late_lib_status(void)
{
	return first == late_answer() ? first : 1;
}
