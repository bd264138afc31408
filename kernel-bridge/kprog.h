/* SPDX-License-Identifier: MIT */
/*
 * Loading a tenant's program into the kernel, guarded, with the verdict and the log that the
 * program as the tenant wrote it would get.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bpf_abi.h"
#include "base/reason.h"
#include "kernel-bridge/insns.h"
#include "kernel-bridge/scope.h"

/**
 * struct kprog_request - all pointers are ours and borrowed
 * @attr: scalars as the tenant gave them, descriptors translated; pointers are ignored
 * @attr_size: bytes of @attr to pass to the kernel
 * @prog: instructions (map descriptors translated) and BTF records
 * @license: terminated string
 * @fd_array: translated descriptors or NULL
 * @log_level, @log_buf, @log_size: where the verifier's log of the tenant's program goes
 * @denied: helpers the policy refuses
 * @clear_stack: what the program does not write of its stack must tell it nothing
 * @unprivileged: load it as for a caller without CAP_PERFMON, which types that trace cannot do
 */
struct kprog_request {
	struct abi_prog_load attr;
	uint32_t attr_size;
	struct insns_prog prog;
	const char *license;
	const int *fd_array;
	uint32_t log_level, log_size;
	char *log_buf;
	const struct scope *scope;
	bool (*denied)(uint32_t helper, void *data);
	void *denied_data;
	bool clear_stack, unprivileged;
};

/**
 * struct kprog_result
 * @fd: the guarded program; owned
 * @timer_fd: variant without guard for clock events, or -1; owned. See taskfree.h
 * @log_true_size: as the kernel reported it
 */
struct kprog_result {
	int fd;
	int timer_fd;
	uint32_t log_true_size;
};

/**
 * kprog_serves() - whether programs of this type can be let to a tenant at all
 *
 * True for those that have the guard, and for SOCKET_FILTER, which has none: it runs for sockets
 * that their owner holds, whoever sends, and @denied must keep it from looking at the sender.
 */
bool kprog_serves(uint32_t prog_type);

/**
 * kprog_try() - what the kernel says of the tenant's program as it is, which is closed at once
 *
 * Return: 0 or -errno.
 */
int kprog_try(const struct kprog_request *request, uint32_t *ret_log_true_size);

/**
 * kprog_load() - load and guard
 *
 * Return: 0, or the -errno the tenant gets; @reason is set when it is our refusal, not the
 * verifier's. @ret_result->log_true_size is valid in both cases.
 */
int kprog_load(const struct kprog_request *request, struct kprog_result *ret_result,
	       struct reason *reason);

/**
 * kprog_stub() - a program that does nothing, for the tenant to hold instead of its own
 * @attr: type, expected_attach_type and name are taken from it
 * @map_fds: maps that live as long as the stub does, as a program's own maps would; @map_cnt of
 * them
 *
 * Return: descriptor, owned by the caller, or -errno.
 */
int kprog_stub(const struct abi_prog_load *attr, const int *map_fds, uint32_t map_cnt);
