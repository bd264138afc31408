/* SPDX-License-Identifier: MIT */
/*
 * Signals that wait for the end of a run.
 */
#pragma once

#include "vm/runtime/internal.h"

/** act_send() - send @run's signals */
void act_send(struct rt_run *run);

/** act_finish() - at the end of a run that owns nothing any more */
rt_inline void act_finish(struct rt_run *run)
{
	if (rt_unlikely(run->signals))
		act_send(run);
}
