/* SPDX-License-Identifier: MIT */
/*
 * How long loops may take. The verifier bounds a program's instructions, but not how often loops of
 * loops turn: the thread that a program runs in would not go on for years. A run that is at it for
 * RT_RUN_MAX_NS makes no more turns: helpers that call back act as if the function had ended the
 * loop, and may_goto goes. That is noted as a missed hit.
 */
#pragma once

#include "vm/runtime/internal.h"

#define RT_RUN_MAX_NS  RT_NSEC_PER_SEC
#define RT_TURNS_CHECK 4096u /* turns between two looks at the clock; a power of two */

/** rt_turns_check() - the clock is looked at. Return: 0 when it has been long enough */
uint64_t rt_turns_check(struct rt_run *run);

/** rt_turn() - before another turn of a loop. Return: whether there may be one */
rt_inline bool rt_turn(struct rt_run *run)
{
	return rt_likely(++run->turns % RT_TURNS_CHECK) || rt_turns_check(run);
}
