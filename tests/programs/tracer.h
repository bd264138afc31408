/* SPDX-License-Identifier: MIT */
/*
 * What tracer.bpf.c and tracer.c share: one structure for each section of global data, so that
 * user space finds every variable without a generated skeleton, and the ring buffer's record.
 */
#ifndef TRACER_H
#define TRACER_H

#include <linux/types.h>

#define TRACER_INNERS	  2 /* inner maps; a call's number modulo this chooses one */
#define TRACER_INNER_SIZE 4 /* slots: 0 added to by the program, 1 and 2 set by user space */
#define TRACER_COOKIES	  2

/* .bss: written by the programs, read by user space through its mapping */
struct tracer_totals {
	__u64 calls;
	__u64 sum;
	__u64 returns;
	__u64 returned;
	__u64 tail_calls;
	__u64 tail_failures;
	__u64 marks; /* sum of what user space put in the inner maps' slot 1 */
	__u64 lost;
};

/* .data: set by user space after loading */
struct tracer_settings {
	__u64 report_below; /* calls with a smaller number go to the ring buffer */
};

/* .rodata: set by user space before loading, constant to the verifier */
struct tracer_constants {
	__u64 weight;
};

struct tracer_event {
	__u64 number;
	__u64 scale;
	char word[8];
};

#endif
