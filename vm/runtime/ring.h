/* SPDX-License-Identifier: MIT */
/*
 * Writing into the event ring of a slot that the caller owns (output.c). @size of events: at most
 * REGION_EVENT_MAX, and @slot has a ring.
 */
#pragma once

#include "vm/runtime/bytes.h"

/** ring_has_room() - whether ring_write() of @size bytes will not fail */
bool ring_has_room(unsigned char *base, uint32_t slot, uint32_t size);

/** ring_write() - one event; false: there is no room */
bool ring_write(unsigned char *base, uint32_t slot, const struct region_event *event,
		const void *data);

/** ring_can_reserve() - whether ring_reserve() of @size bytes will not fail */
bool ring_can_reserve(unsigned char *base, uint32_t slot, uint32_t size);

/**
 * ring_reserve() - one event whose bytes the program writes later
 *
 * Until it has given back all that it reserved by ring_commit(), nothing of what it writes is seen
 * by the forwarder.
 *
 * Return: event->size bytes in a row, or NULL.
 */
void *ring_reserve(unsigned char *base, uint32_t slot, const struct region_event *event);

/** ring_commit() - @record: from ring_reserve(), in the same run @flags: the event's lowest
 *  REGION_RECORD_FLAGS */
void ring_commit(unsigned char *base, uint32_t slot, void *record, uint32_t flags);
