/* SPDX-License-Identifier: MIT */
/*
 * A lock and a number in one word of shared memory: the upper half says who holds the lock, the
 * lower half is changed by the same store that gives it back.
 *
 * Holders may be killed, stopped, or make their memory say anything: waiting is bounded, and a lock
 * that did not move for that time is taken over. What it protects stays memory-safe without it.
 */
#pragma once

#include "vm/runtime/internal.h"

/** lock_holder() - word for the upper half @slot: the CPU slot the caller owns, or any other */
uint32_t lock_holder(unsigned char *base, uint32_t slot);

/** lock_take_slow() - the general case of lock_take() */
bool lock_take_slow(unsigned char *base, uint64_t *lock, uint32_t holder, uint64_t *ret_word);

/**
 * lock_take() - take @lock
 * @ret_word: what it holds now; the lower half is the number
 * Return: false if this very thread holds it further up its stack (a signal handler), or after half
 *	a second in which it changed hands all the time, less in a process that has waited in vain
 */
rt_inline bool lock_take(unsigned char *base, uint64_t *lock, uint32_t holder, uint64_t *ret_word)
{
	uint64_t word = rt_load(lock);

	if (rt_likely(!(word >> 32))) {
		*ret_word = word | (uint64_t)holder << 32;
		if (rt_likely(__atomic_compare_exchange_n(lock, &word, *ret_word, false,
							  __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
			return true;
	}
	return lock_take_slow(base, lock, holder, ret_word);
}

/** lock_give() - give it back with a new number
 *  Return: false if somebody took it over meanwhile: the number is not stored */
rt_inline bool lock_give(uint64_t *lock, uint64_t word, uint32_t number)
{
	return __atomic_compare_exchange_n(lock, &word, (uint64_t)number, false, __ATOMIC_RELEASE,
					   __ATOMIC_RELAXED);
}
