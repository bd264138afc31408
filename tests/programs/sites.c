/* SPDX-License-Identifier: MIT */
/*
 * Functions that are hard to put a jump into, and returns that are hard to catch. Each is called a known
 * number of times.
 *
 * usage: sites [CALLS]
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * site_tight has three bytes and no padding before the next function; site_padded has room only behind
 * its end; site_looped jumps back to its third byte; site_relative reads memory relative to its own place;
 * site_called begins with a call.
 */
__asm__(".text\n"
	".globl site_tight, site_next, site_padded, site_looped, site_relative, site_called\n"
	".p2align 4\n.type site_tight, @function\n"
	"site_tight: xor %eax, %eax\n ret\n.size site_tight, . - site_tight\n"
	".type site_next, @function\n"
	"site_next: lea 1(%rdi), %rax\n ret\n.size site_next, . - site_next\n"
	".p2align 4\n.type site_padded, @function\n"
	"site_padded: xor %eax, %eax\n ret\n.size site_padded, . - site_padded\n"
	".p2align 4\n.type site_looped, @function\n"
	"site_looped: xor %eax, %eax\n1: inc %eax\n cmp $3, %eax\n jl 1b\n ret\n"
	".size site_looped, . - site_looped\n"
	".p2align 4\n.type site_relative, @function\n"
	"site_relative: mov site_word(%rip), %rax\n ret\n.size site_relative, . - site_relative\n"
	".p2align 4\n.type site_called, @function\n"
	"site_called: call site_next\n inc %rax\n ret\n.size site_called, . - site_called\n"
	".p2align 4\n");
long site_word = 41;
long site_tight(long);
long site_next(long);
long site_padded(long);
long site_looped(long);
long site_relative(long);
long site_called(long);

#ifdef __clang__
#define OPAQUE __attribute__((noinline, optnone))
#else
#define OPAQUE __attribute__((noinline, noipa))
#endif

long recursive(long n);
long tail(long n);
long behind_tail(long n);
long leaper(long n);

static jmp_buf back;

OPAQUE long recursive(long n)
{
	long deeper = n > 0 ? recursive(n - 1) : -1;

	/* Or the compiler makes a loop of it. */
	__asm__ volatile("" ::: "memory");
	return deeper + 1;
}

OPAQUE long behind_tail(long n)
{
	return n * 3;
}

__attribute__((noinline)) long tail(long n)
{
	return behind_tail(n + 1);
}

OPAQUE long leaper(long n)
{
	if (n >= 0)
		longjmp(back, 1);
	return n;
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 100;
	volatile long sum = 0;

	for (volatile long i = 0; i < calls; i++) {
		sum += site_tight(i) + site_next(i) + site_padded(i) + site_looped(i);
		sum += site_relative(i) + site_called(i) + recursive(4) + tail(i);
		if (setjmp(back) == 0)
			sum += leaper(i);
		sum++;
	}
	printf("sum %ld\n", sum);
	return 0;
}
