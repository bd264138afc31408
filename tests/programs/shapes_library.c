/* SPDX-License-Identifier: MIT */
/*
 * libshapes.so: a function that comes into a process late.
 */
#include "shapes.h"

long shape_library(long n)
{
	__asm__ volatile("" : "+r"(n));
	return n * 40503 + 13;
}
