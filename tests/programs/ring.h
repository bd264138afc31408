/* SPDX-License-Identifier: MIT */
/* What both halves of ring.c know. */
#ifndef RING_H
#define RING_H

#include <linux/types.h>

#define RING_THREADS 16
#define RING_FILL    64 /* bytes: the most that follow the head of a record */

/* How a record was written. */
enum ring_kind {
	RING_OUTPUT,
	RING_RESERVED,
	RING_FIRST,
	RING_SECOND,
	RING_BETWEEN,
	RING_DYNPTR,
	RING_KINDS
};

/* number: of the call in its thread; which: of the record in the call */
struct ring_event {
	__u32 thread, which;
	__u64 number;
	__u32 kind, fill;
	__u64 words[RING_FILL / 8]; /* the number, each time */
};
#define RING_HEAD (sizeof(struct ring_event) - RING_FILL)

/* .bss: by kind */
struct ring_totals {
	__u64 failed[RING_KINDS], discarded[RING_KINDS];
	__u64 keep;    /* set by user space: nothing is to be thrown away */
	__u64 strange; /* answers that nobody expects */
	__u64 size;    /* of the ring */
	__u64 most;    /* that was seen to be on its way */
};

#endif
