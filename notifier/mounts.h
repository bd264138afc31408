/* SPDX-License-Identifier: MIT */
/*
 * What a command tree finds mounted. Everything happens in the daemon's own mount namespace, which
 * the tree inherits and the host never sees.
 */
#pragma once

#include <stdbool.h>

#include "base/reason.h"

/** mounts_private() - leave the host's mount namespace; its later mounts still arrive here */
int mounts_private(struct reason *reason);

/**
 * mounts_prepare() - bpffs, tracefs and kernel headers for the tree
 * @unprivileged: the tree cannot use real tracefs and gets the synthetic one
 *
 * @ret_pipe: both ends of what an unprivileged tree finds as its trace_pipe, owned by the caller;
 *	otherwise untouched
 *
 * Sets BCC_KERNEL_SOURCE in our environment when headers are installed and it is unset.
 *
 * Return: 0, or -errno with a reason.
 */
int mounts_prepare(bool unprivileged, int *ret_pipe, struct reason *reason);
