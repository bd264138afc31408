/* SPDX-License-Identifier: MIT */
/*
 * Better code for programs that run: a thread has it made, one program after the other, by a worker
 * of its own with a low priority, so that nobody's PROG_LOAD waits for it.
 */
#pragma once

#include "notifier/uspace.h"

struct tiers;

/** tiers_new() - nothing runs yet
 *  @exe_fd: the worker's executable, borrowed; @timeout_ms: for one program */
int tiers_new(struct uspace *uspace, int exe_fd, int timeout_ms, struct tiers **ret_tiers);
/** tiers_free() - gives up what is under way. Accepts NULL. Return: NULL. */
struct tiers *tiers_free(struct tiers *tiers);

/**
 * tiers_want() - @prog runs in processes: have better code made for it, once
 *
 * Until that is in place, and if it cannot be made, the program goes on with the code it has.
 */
void tiers_want(struct tiers *tiers, struct uspace_prog *prog);
