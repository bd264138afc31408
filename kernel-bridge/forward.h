/* SPDX-License-Identifier: MIT */
/*
 * Events of traced processes into a tool's real perf buffers: a small program of ours, run on the
 * CPU whose buffer is meant, outputs a batch of records.
 */
#pragma once

#include <stdint.h>

#define FORWARD_EVENT_MAX 0x8000u /* bytes of one event */

struct forward;

/**
 * forward_new() - for one perf event array
 * @perf_map_fd: the tool's map; duplicated by what is loaded, stays the caller's
 *
 * Return: 0 or -errno. Owns: free with forward_free().
 */
int forward_new(int perf_map_fd, struct forward **ret_forward);

/** forward_free() - accepts NULL; what is queued is lost. Return: NULL. */
struct forward *forward_free(struct forward *forward);

/**
 * forward_output() - queue one event; queues of another CPU and full ones are flushed first
 * @cpu: whose buffer BPF_F_CURRENT_CPU in @flags means
 * @flags: as given to bpf_perf_event_output()
 * @size: at most FORWARD_EVENT_MAX (bytes)
 *
 * Return: 0, -E2BIG, or the -errno of a flush.
 */
int forward_output(struct forward *forward, uint32_t cpu, uint64_t flags, const void *data,
		   uint32_t size);

/**
 * forward_flush() - output what is queued, in order
 *
 * An event that finds its buffer full is lost as one of the kernel's own is: the kernel tells the
 * tool.
 *
 * Return: 0 or -errno (-ENXIO: no such CPU is online).
 */
int forward_flush(struct forward *forward);

/** forward_lost() - events so far that the helper refused: buffer full, no event at that index */
uint64_t forward_lost(const struct forward *forward);
