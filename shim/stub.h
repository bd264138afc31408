/* SPDX-License-Identifier: MIT */
/*
 * Stubs (struct region_stub) in a target, near the code that jumps to them. An area of them is a
 * private anonymous R-X mapping whose first record marks it; it is found again by looking.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shim/apply.h"
#include "shim/move.h"
#include "shim/region.h"
#include "shim/tracee.h"

#define STUB_AREA_SIZE 0x10000u
/* In @ip of an area's first record, where no code address can be; @enter is the region's base. */
#define STUB_AREA_MARK 0xb9f5419be0000001ull

/**
 * stub_behind() - the stub that five bytes at @site jump to
 * @jump: what stands there
 * @ret_address: of the record
 *
 * Return: true when it is one of ours for this very site.
 */
bool stub_behind(const struct tracee *tracee, const struct maps *maps, uint64_t site,
		 const unsigned char *jump, uint64_t *ret_address, struct region_stub *ret_stub);

/** stub_leads_in() - whether a thread at @ip is in a stub and has yet to run what it leads to */
bool stub_leads_in(const struct tracee *tracee, const struct maps *maps, uint64_t ip);

/**
 * stub_new() - make a stub for @site in an area near it, which is mapped when there is none
 * @want: what it displaces, and what it asks first
 * @base: the region there; @enter: address of rt_enter or rt_enter_small
 * @record: address of the struct region_site
 * @ret_jump: five bytes to put at the site
 * @ret_map: where in the process the displaced instructions went (offsets from @ret_moved)
 *
 * Errors: -ENOMEM no room within reach, -ERANGE an operand out of reach, -ESRCH, -EFAULT, -EBUSY
 * somebody writes to the area.
 */
int stub_new(struct tracee *tracee, const struct maps *maps, uint64_t site,
	     const struct shim_want *want, uint64_t base, uint64_t enter, uint64_t record,
	     unsigned char *ret_jump, uint64_t *ret_moved, struct move_map *ret_map);

/**
 * stub_lower_semaphores() - lower what was raised with any stub, also while the process runs
 *
 * Return: how many were.
 */
uint32_t stub_lower_semaphores(const struct tracee *tracee, const struct maps *maps);

/** stub_set_record() - change what a stub runs; @record 0: nothing */
int stub_set_record(const struct tracee *tracee, uint64_t stub, uint64_t record);
/**
 * stub_silence() - make all stubs of a process idle but those of unwinders, which run no programs
 *
 * Nothing needs to be stopped for it.
 *
 * @ret_base: of the region whose programs they ran, 0 if none did
 *
 * Return: how many ran something before, or -EFAULT.
 */
int stub_silence(const struct tracee *tracee, const struct maps *maps, uint64_t *ret_base);
/** stub_set_semaphore() - note what was raised, or lowered (0), with a stub */
int stub_set_semaphore(const struct tracee *tracee, uint64_t stub, uint64_t semaphore);
