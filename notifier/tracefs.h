/* SPDX-License-Identifier: MIT */
/*
 * A copy of what tools read from tracefs.
 *
 * The real one is for host root only and shows everybody's probes. Tools of a container need the
 * ids and formats of events, which are the same for everyone: they get a static tree of those, made
 * once per boot and kept in /var/cache/bpfshim.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"

#define TRACEFS_CACHE "/var/cache/bpfshim"

/**
 * tracefs_prepare() - make the tree unless this boot has it already
 * @ret_path: directory to bind-mount; @size bytes of room
 *
 * Call in a private mount namespace: tracefs is mounted at /sys/kernel/tracing if it is not there.
 *
 * Return: 0, or -errno with a reason.
 */
int tracefs_prepare(char *ret_path, size_t size, struct reason *reason);

/**
 * tracefs_event_name() - "category:name" of a tracepoint id
 *
 * Return: 0, or -ENOENT when there is no such event (or no tree).
 */
int tracefs_event_name(uint64_t id, char *name, size_t size);
