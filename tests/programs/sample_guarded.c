/* SPDX-License-Identifier: MIT */
/*
 * The sample's probe with a semaphore. It fires only while a tool has raised it, so its count shows
 * whether the semaphore works. A file of its own because sys/sdt.h decides per file.
 */
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

void sample_guarded(long n);

__extension__ unsigned short sample_guarded_semaphore __attribute__((unused, section(".probes")));

/* How often it fired: code behind the probe, as there nearly always is. */
static volatile long fired;

void sample_guarded(long n)
{
	if (__builtin_expect(*(volatile unsigned short *)&sample_guarded_semaphore, 0)) {
		STAP_PROBE1(sample, guarded, n);
		fired++;
	}
}
