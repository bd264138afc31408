/* SPDX-License-Identifier: MIT */
/*
 * Processes that exec or load a probed file after the attach; shim/late.h catches them, here they
 * get the tenant's plan.
 */
#pragma once

#include <sys/types.h>

#include "base/reason.h"

struct uspace;

/** uspace_late_watch() - from now on; counted by file. Errors: those of late_watch() with a reason.
 */
int uspace_late_watch(struct uspace *uspace, int file_fd, struct reason *reason);
void uspace_late_unwatch(struct uspace *uspace, int file_fd);
/** uspace_late_let_go() - end the catch of a process that waits for an answer of ours, so that we
 * may trace it ourselves: it has read the file, as tools do, and is followed for that */
void uspace_late_let_go(struct uspace *uspace, pid_t pid);
/** uspace_late_stop() - ends the thread */
void uspace_late_stop(struct uspace *uspace);
