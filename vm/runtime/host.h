/* SPDX-License-Identifier: MIT */
/*
 * What the daemon needs to know about this host to fill in a region.
 */
#pragma once

#include <stdint.h>

/** rt_cpu_features() - REGION_CPU_* for struct region_config.features */
uint32_t rt_cpu_features(void);
