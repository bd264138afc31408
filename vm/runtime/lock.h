/* SPDX-License-Identifier: MIT */
/*
 * Identity of who locks a hash bucket; one file for targets (lock_target.c), one for the daemon
 * (lock_daemon.c).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RT_LOCK_DAEMON 0x80000000u

/** rt_lock_id() - word for a lock taken by the owner of @slot; not 0 */
uint32_t rt_lock_id(unsigned char *base, uint32_t slot);
/** rt_lock_orphaned() - whether who took it is gone for sure, so that it may be taken over */
bool rt_lock_orphaned(unsigned char *base, uint32_t word);
