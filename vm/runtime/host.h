/* SPDX-License-Identifier: MIT */
/*
 * What the daemon needs to know about this host to fill in a region.
 */
#pragma once

#include <stdint.h>

/** rt_cpu_features() - REGION_HAS_* for struct region_header.features */
uint32_t rt_cpu_features(void);

/** rt_helper_name() - runtime function ("rt_...") of helper BPF_FUNC_* @number; NULL: none */
const char *rt_helper_name(int number);
