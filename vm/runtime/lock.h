/* SPDX-License-Identifier: MIT */
/*
 * Identity of who locks a hash bucket; one file for targets (lock_target.c), one for the daemon
 * (lock_daemon.c).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RT_LOCK_DAEMON 0x80000000u

/** rt_lock_id() - not 0 */
uint32_t rt_lock_id(void);
/** rt_lock_orphaned() - whether @owner is gone for sure, so that its lock may be taken over */
bool rt_lock_orphaned(uint32_t owner);
