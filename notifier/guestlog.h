/* SPDX-License-Identifier: MIT */
/*
 * The log buffer a guest passes with PROG_LOAD and BTF_LOAD: our own copy to let the kernel write
 * into, and its delivery.
 */
#pragma once

#include <stdint.h>

struct call;

/**
 * struct guestlog
 * @level, @guest_buf, @guest_size: as the guest gave them
 * @buf: our buffer of @size bytes, NULL when the guest gave none; owned. May be smaller than the
 *	guest's: a longer log is then cut, with the verdict -ENOSPC, as by the kernel
 */
struct guestlog {
	uint32_t level, guest_size, size;
	uint64_t guest_buf;
	char *buf;
};

/**
 * guestlog_init() - check the guest's three values as the kernel does and make room
 *
 * The room is charged to the tenant until @call ends.
 *
 * Return: 0, -EINVAL, or -ENOMEM. Source: bpf_verifier_log_attr_valid(), kernel/bpf/log.c.
 */
int guestlog_init(struct guestlog *log, struct call *call, uint32_t level, uint64_t buf,
		  uint32_t size);

/** guestlog_add_line() - append one line, dropping the text's head when it is full */
void guestlog_add_line(struct guestlog *log, const char *line);

/** guestlog_add_reason() - append "bpfshim: ..." to the text, dropping its head when it is full */
void guestlog_add_reason(struct guestlog *log, const char *reason);

/** guestlog_deliver() - copy the text out and free the buffer. Return: 0 or -EFAULT. */
int guestlog_deliver(struct guestlog *log, struct call *call);
