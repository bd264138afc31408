/* SPDX-License-Identifier: MIT */
/* The linked image, as data (image.h). */
	.section .rodata
	.globl	runtime_image, runtime_image_end
	.p2align 6
runtime_image:
	.incbin	RUNTIME_BIN
runtime_image_end:
	.section .note.GNU-stack, "", @progbits
