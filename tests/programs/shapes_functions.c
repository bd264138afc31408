/* SPDX-License-Identifier: MIT */
/*
 * The functions of shapes.h. An empty asm keeps a value or a loop that the compiler would fold.
 */
#include "shapes.h"

/* The compiler must know nothing of the callee, and emit the function as it is written. */
#ifdef __clang__
#define SHAPE __attribute__((noinline))
#else
#define SHAPE __attribute__((noinline, noipa))
#endif

#define KEEP(value) __asm__ volatile("" : "+r"(value))

long shape_offset = 11;

SHAPE long shape_roomy(long n)
{
	return n * 40503 + 7;
}

SHAPE long shape_tiny(long n)
{
	return n;
}

SHAPE long shape_global(long n)
{
	return shape_offset + n;
}

SHAPE long shape_choose(long n)
{
	if (n == 0)
		return shape_tailee(n) - 1;
	KEEP(n);
	return n * 5;
}

SHAPE long shape_again(long n)
{
	do
		KEEP(n);
	while (--n);
	return n;
}

SHAPE long shape_spin(long n)
{
	long sum = 0;

	do {
		sum += n;
		KEEP(sum);
	} while (--n);
	return sum;
}

SHAPE long shape_deep(long n)
{
	long below;

	if (n <= 1)
		return 1;
	below = shape_deep(n - 1);
	KEEP(below);
	return below + n;
}

SHAPE long shape_tailee(long n)
{
	return n * 9 + 2;
}

SHAPE long shape_tail(long n)
{
	return shape_tailee(n + 1);
}

/* Apart, so that the compiler believes that shape_leap() may return. */
SHAPE static void jump(jmp_buf env)
{
	longjmp(env, 1);
}

SHAPE void shape_leap(jmp_buf env, long n)
{
	if (n == 0)
		jump(env);
	else
		shape_leap(env, n - 1);
	KEEP(n);
}
