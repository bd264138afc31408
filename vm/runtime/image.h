/* SPDX-License-Identifier: MIT */
/*
 * The runtime as it goes into the region's text.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const unsigned char runtime_image[];
extern const unsigned char runtime_image_end[];
#define runtime_image_size ((size_t)(runtime_image_end - runtime_image))

/** runtime_symbol() - where in the region a function of the runtime stands; 0 for none of that name
 */
uint64_t runtime_symbol(const char *name);
