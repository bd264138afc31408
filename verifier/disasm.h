/* SPDX-License-Identifier: MIT */
/*
 * Instructions as the kernel's verifier and bpftool write them.
 */
#pragma once

#include <linux/bpf.h>
#include <stddef.h>

/**
 * disasm() - text of one instruction, "(b7) r0 = 0"
 * @insn: of an ld_imm64 both halves are read
 * @buf: cut when it is too short; always terminated
 *
 * Maps are shown by their place in the list, where the kernel shows an address. What is no
 * instruction has no text but its number.
 */
void disasm(const struct bpf_insn *insn, char *buf, size_t size);
