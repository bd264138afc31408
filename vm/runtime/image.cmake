# SPDX-License-Identifier: MIT
# Writes the image and its symbols as C. Called by the build with OBJCOPY, NM, ELF, BIN and OUT set.
execute_process(COMMAND ${OBJCOPY} -O binary -j .image ${ELF} ${BIN} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${NM} --defined-only ${ELF} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
file(READ ${BIN} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n" bytes "${bytes}")

set(rows "")
string(REGEX MATCHALL "[0-9a-f]+ [tT] rt_[a-z0-9_]+\n" lines "${symbols}")
foreach(line ${lines})
	string(REGEX REPLACE "([0-9a-f]+) [tT] (rt_[a-z0-9_]+)\n" "\t{\"\\2\", 0x\\1},\n" row "${line}")
	string(APPEND rows "${row}")
endforeach()

file(WRITE ${OUT} "/* SPDX-License-Identifier: MIT */
/* Generated from the runtime's image. */
#include \"vm/runtime/image.h\"

#include <string.h>

const unsigned char runtime_image[] = {
${bytes}
};
const size_t runtime_image_size = sizeof(runtime_image);

static const struct {
	const char *name;
	uint64_t offset;
} symbols[] = {
${rows}};

uint64_t runtime_symbol(const char *name)
{
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		if (!strcmp(symbols[i].name, name))
			return symbols[i].offset;
	}
	return 0;
}
")
