/* SPDX-License-Identifier: MIT */
/*
 * vm_set.h for this machine, as good as the compiler can.
 */
#include "tests/bench/vm_set.h"

extern struct vm_input vm_in;
extern vm_u64 vm_out[VM_WORDS];

#define PROGRAM(name)                                                                              \
	int native_##name(void);                                                                   \
	int native_##name(void)                                                                    \
	{                                                                                          \
		return (int)vm_##name(&vm_in, vm_out);                                             \
	}
VM_SET(PROGRAM)
