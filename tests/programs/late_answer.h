/* SPDX-License-Identifier: MIT */
/*
 * A function that tests/unit/test_late.c finds in a file by the marker behind it and changes: it
 * returns LATE_PLAIN, or LATE_PATCHED if that was done before it was called.
 */
#pragma once

#define LATE_PLAIN   7
#define LATE_PATCHED 42
#define LATE_MARKER  "late_answer ends here"

int late_answer(void);

#define LATE_DEFINE_ANSWER                                                                         \
	__asm__(".text\n"                                                                          \
		".p2align 4\n"                                                                     \
		".globl late_answer\n"                                                             \
		".hidden late_answer\n"                                                            \
		".type late_answer, @function\n"                                                   \
		"late_answer:\n"                                                                   \
		"	movl $7, %eax\n"                                                                 \
		"	ret\n"                                                                           \
		"	.ascii \"" LATE_MARKER "\"\n"                                              \
		".size late_answer, . - late_answer\n")
