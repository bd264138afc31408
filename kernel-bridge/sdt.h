/* SPDX-License-Identifier: MIT */
/*
 * USDT semaphores of an ELF file.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/**
 * sdt_is_semaphore() - whether @offset is where a .note.stapsdt note has its semaphore
 * @fd: readable descriptor of the file
 * @offset: file offset, as perf's ref_ctr_offset
 *
 * The kernel increments 16 bits at that offset in every process, so anything else would corrupt
 * data; bcc's python front end passes garbage there.
 */
bool sdt_is_semaphore(int fd, uint64_t offset);
