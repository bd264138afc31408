/* SPDX-License-Identifier: MIT */
/*
 * Waiting for the runs of programs that may still see what was taken away from them, as the kernel
 * waits for its own before an update of a map of maps or programs returns.
 *
 * Memory that such runs may use is given to uspace_space_give(), which does not wait and lets nobody
 * have it before they have ended.
 */
#pragma once

#include <stdbool.h>

struct uspace;

/**
 * uspace_retire_wait() - until the runs that are under way have ended
 *
 * Runs that begin during the call see what was stored before it. Owners of slots may be stopped or
 * dead, so the wait is bounded (a tenth of a second), and one that was waited for in vain is not
 * waited for again. Call it without locks.
 *
 * Return: false when a run was left that has not ended.
 */
bool uspace_retire_wait(struct uspace *uspace);
