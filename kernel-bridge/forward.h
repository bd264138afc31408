/* SPDX-License-Identifier: MIT */
/*
 * Events of USER-placed programs on their way into the tool's real perf event array. A small
 * program of our own, run on the CPU whose buffer is wanted, gives them to the kernel in batches,
 * so that the tool reads from its buffers the very records a kernel program would have written.
 *
 * A forwarder belongs to one map and is used by one thread at a time. What it is given to output
 * may be hostile; the kernel sees it as plain bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Longest event (bytes), not less than REGION_EVENT_MAX of shim/region.h. A perf record has 16 bits
 * for its size. Source: include/uapi/linux/perf_event.h struct perf_event_header, Linux 6.18. */
#define FORWARD_EVENT_MAX 0x8000u

/* A batch runs with interrupts off on its CPU: this many events and bytes bound how long. */
#define FORWARD_BATCH_EVENTS 256u
#define FORWARD_BATCH_BYTES  0x10000u

struct forward;

/**
 * struct forward_counts - what became of the events, by the answer of bpf_perf_event_output()
 * @sent: in the buffer
 * @full: no room, or nobody has mapped the buffer (-ENOSPC); if mapped, the kernel has counted it
 *	and writes PERF_RECORD_LOST once there is room
 * @absent: no perf event at that index (-ENOENT), or the index is beyond the map (-E2BIG)
 * @elsewhere: the perf event at that index is of another CPU (-EOPNOTSUPP)
 * @offline: the CPU is not there
 * @failed: anything else
 */
struct forward_counts {
	uint64_t sent, full, absent, elsewhere, offline, failed;
};

/**
 * forward_new() - a forwarder into a perf event array
 * @perf_map_fd: borrowed, and not needed afterwards but for the events in it: the kernel takes
 *those out that were put there by it when the last duplicate is closed
 * @ret_forward: owned by the caller (forward_free()); untouched on failure
 *
 * Errors: -EINVAL not a perf event array, -EPERM no privilege, -ENOMEM, what bpf() returns.
 * Source: kernel/bpf/arraymap.c perf_event_fd_array_release(), Linux 6.18.
 */
int forward_new(int perf_map_fd, struct forward **ret_forward);

/** forward_free() - give up the program and its memory; queued events are gone. Return: NULL */
struct forward *forward_free(struct forward *forward);

/**
 * forward_output() - queue an event
 * @cpu: where it happened, whose buffer BPF_F_CURRENT_CPU in @flags means: number of the CPU slot
 * @flags: as the program gave them to bpf_perf_event_output()
 * @data: copied
 * @size: bytes, at most FORWARD_EVENT_MAX
 *
 * Events reach the buffer of a CPU in the order they were queued. A full batch, or one of another
 * CPU, is flushed first; its outcome is counted.
 *
 * Errors: -E2BIG too long: neither queued nor counted; else as forward_flush() for what was
 * flushed: the event is queued even then.
 */
int forward_output(struct forward *forward, uint32_t cpu, uint64_t flags, const void *data,
		   uint32_t size);

/**
 * forward_flush() - hand everything queued to the kernel
 *
 * What could not be handed over is counted as lost, never tried again: a CPU that has gone does
 * not hold up the others. The calling thread may find itself on another CPU afterwards; its
 * affinity is as before.
 *
 * Errors: -ENXIO the CPU of the queued events is offline or does not exist, what bpf() returns.
 */
int forward_flush(struct forward *forward);

/**
 * forward_results() - answers to the events of the last run, in order
 * @ret_results: valid until the next call; helper results, or for all of them the error of the run
 *
 * Return: how many.
 */
uint32_t forward_results(const struct forward *forward, const int32_t **ret_results);

/**
 * forward_lose() - have the kernel count events as lost
 * @cpu: whose buffer
 * @event_fd: the event that stands at index @cpu of the map, whose buffer is closed meanwhile:
 *	events that others write to it in these microseconds are lost, and counted, too
 * @cnt: how many
 *
 * The kernel tells the reader in front of the next event (PERF_RECORD_LOST), which may be one that
 * is queued here already. Without a buffer mapped nothing is counted, as for any program's events.
 *
 * Return: 0, or -errno of the ioctl or of bpf().
 * Source: kernel/events/ring_buffer.c __perf_output_begin(), Linux 6.18.
 */
int forward_lose(struct forward *forward, uint32_t cpu, int event_fd, uint32_t cnt);

/** forward_counts() - totals since forward_new() */
const struct forward_counts *forward_counts(const struct forward *forward);

/** forward_lost() - events so far that did not get into a buffer, for whatever reason */
uint64_t forward_lost(const struct forward *forward);
