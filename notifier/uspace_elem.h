/* SPDX-License-Identifier: MIT */
/*
 * What commands on single elements and on batches share.
 */
#pragma once

#include "notifier/uspace.h"

/** uspace_elem_map() - the map behind the guest's descriptor, with a reference; NULL when its
 * contents are the kernel's. A perf event array has none, but is given as well. */
struct uspace_map *uspace_elem_map(struct call *call, int guest_fd);

/** uspace_elem_value_size() - bytes of a value as tools see it: all possible CPUs' of per-CPU maps
 */
size_t uspace_elem_value_size(const struct region_map *record);
