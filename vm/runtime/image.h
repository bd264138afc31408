/* SPDX-License-Identifier: MIT */
/*
 * The runtime as it goes into a region's text: a flat image that works at any address, starting
 * with struct region_header (@slots and @off are for the daemon to fill in).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const unsigned char runtime_image[];
extern const size_t runtime_image_size;

/** runtime_symbol() - offset of the runtime function @name ("rt_...") from the region's base
 *  Return: 0 if there is none */
uint64_t runtime_symbol(const char *name);
