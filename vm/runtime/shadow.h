/* SPDX-License-Identifier: MIT */
/*
 * The shadow table: where the return addresses are that were replaced by the trampoline.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SHADOW_CHAIN_MAX 16u /* entries of one stack slot: functions that end in jumps */

struct shadow_pending {
	uint64_t stub, sequence;
};

/**
 * shadow_push() - remember the return address at @slot and put @trampoline there
 * Return: false if there is no room; the return address is as it was then
 */
bool shadow_push(unsigned char *base, uint64_t slot, uint64_t stub, uint64_t trampoline);

/** shadow_peek() - the real return address of a stack slot that holds the trampoline; 0 if nobody
 *  knows it */
uint64_t shadow_peek(unsigned char *base, uint64_t slot, uint64_t trampoline);

/**
 * shadow_pop() - take out all entries of @slot
 * @ret_pending: SHADOW_CHAIN_MAX of them, the last one entered first
 * @ret_address: the real return address; 0 if nobody knows it
 * Return: how many
 */
uint32_t shadow_pop(unsigned char *base, uint64_t slot, uint64_t trampoline,
		    struct shadow_pending *ret_pending, uint64_t *ret_address);
