/* SPDX-License-Identifier: MIT */
/*
 * A program that is probed: its exit status says whether late_answer() was changed before even the
 * constructors ran. Also linked statically.
 */
#include "tests/programs/late_answer.h"

LATE_DEFINE_ANSWER;

static int first;

__attribute__((constructor)) static void remember(void)
{
	first = late_answer();
}

int main(void)
{
	return first == late_answer() ? first : 1;
}
