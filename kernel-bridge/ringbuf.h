/* SPDX-License-Identifier: MIT */
/*
 * Records of USER-placed programs on their way into the tool's real ring buffer. As in forward.h a
 * small program of our own gives them to the kernel in batches; here it stops at the first that
 * finds no room, and what was not taken stays queued.
 *
 * A writer belongs to one map and is used by one thread at a time. The bytes may be hostile.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Longest record (bytes), not less than REGION_EVENT_MAX of shim/region.h. */
#define RINGBUF_EVENT_MAX 0x8000u

/* A batch runs without preemption: this many records and bytes bound how long. */
#define RINGBUF_BATCH_EVENTS 256u
#define RINGBUF_BATCH_BYTES  0x10000u

struct ringbuf;

/**
 * struct ringbuf_counts - what became of the records
 * @sent: in the kernel's ring
 * @failed: refused by the kernel for another reason than want of room, and dropped
 * @full: how often a batch found the ring full
 */
struct ringbuf_counts {
	uint64_t sent, failed, full;
};

/**
 * ringbuf_new() - a writer into a ring buffer
 * @map_fd: borrowed, and not needed afterwards
 * @size: of the ring, max_entries of the map (bytes)
 * @ret_ringbuf: owned by the caller (ringbuf_free()); untouched on failure
 *
 * Errors: -EINVAL not a ring buffer, -EPERM no privilege, -ENOMEM, what bpf() returns.
 */
int ringbuf_new(int map_fd, uint32_t size, struct ringbuf **ret_ringbuf);

/** ringbuf_free() - give up the program and its memory; queued records are gone. Return: NULL */
struct ringbuf *ringbuf_free(struct ringbuf *ringbuf);

/**
 * ringbuf_output() - queue a record
 * @flags: BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP or 0
 * @data: copied
 *
 * Records reach the ring in the order they were queued. A full batch is flushed first.
 *
 * Errors: -E2BIG longer than a record, or the ring, can be; -EAGAIN, or what ringbuf_flush()
 * returns: there is no room. Not queued in either case.
 */
int ringbuf_output(struct ringbuf *ringbuf, uint64_t flags, const void *data, uint32_t size);

/**
 * ringbuf_flush() - hand everything queued to the kernel
 *
 * Return: 0, -EAGAIN when some is left because the ring is full, or what bpf() returns: nothing was
 * handed over.
 */
int ringbuf_flush(struct ringbuf *ringbuf);

/** ringbuf_queued() - what the kernel has not taken yet: bytes of the ring */
uint64_t ringbuf_queued(const struct ringbuf *ringbuf);

/** ringbuf_position() - of the ring's producer, which a kernel program may have moved as well */
uint64_t ringbuf_position(const struct ringbuf *ringbuf);

/** ringbuf_counts() - totals since ringbuf_new() */
const struct ringbuf_counts *ringbuf_counts(const struct ringbuf *ringbuf);
