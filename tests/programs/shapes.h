/* SPDX-License-Identifier: MIT */
/*
 * Functions to probe, each shaped so that its entry is patched in another way.
 * tests/e2e/shapes.bats checks that the compiler made them so.
 */
#ifndef SHAPES_H
#define SHAPES_H

#include <setjmp.h>

/* How often the first instruction of shape_again() runs in one call, and shape_deep() in one. */
#define SHAPES_AGAIN 3
#define SHAPES_DEEP  5

long shape_roomy(long n);  /* more than 5 bytes, no relative operand */
long shape_tiny(long n);   /* shorter than 5 bytes, padding behind it */
long shape_global(long n); /* begins with a RIP-relative operand */
long shape_choose(long n); /* a conditional jump within the first 5 bytes */
long shape_again(long n);  /* jumps back to its first instruction */
long shape_spin(long n);   /* jumps back into its first 5 bytes */
long shape_deep(long n);   /* calls itself */
long shape_tail(long n);   /* ends in a jump to shape_tailee() */
long shape_tailee(long n);
void shape_leap(jmp_buf env, long n); /* never returns: jumps over its own frames */
long shape_library(long n);	      /* in libshapes.so */

extern long shape_offset;

#endif
