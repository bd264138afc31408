/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as BTF: fields of each type, and whether the kernel may be shown it.
 *
 * Input: two bytes type, then the BTF.
 */
#include <stdlib.h>
#include <string.h>

#include "base/btf_fields.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct btf_fields fields = {0};
	uint8_t *btf;
	uint16_t type;
	int r;

	if (size < sizeof(type))
		return 0;
	memcpy(&type, data, sizeof(type));
	size -= sizeof(type);
	/* Of its own, so that a byte too many is noticed. */
	btf = malloc(size ? size : 1);
	if (!btf)
		return 0;
	memcpy(btf, data + sizeof(type), size);
	r = btf_fields(btf, size, type, &fields);
	if (r == 0 && fields.kinds >= BTF_FIELD_OTHER << 1)
		abort();
	btf_is_bounded(btf, size);
	free(btf);
	return 0;
}
