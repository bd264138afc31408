/* SPDX-License-Identifier: MIT */
/*
 * PROG_LOAD as far as USER placement is concerned.
 */
#pragma once

#include "base/bpf_abi.h"
#include "notifier/guestlog.h"
#include "notifier/uspace.h"

struct call;
struct tenant;

/**
 * struct prog_user - what became of a program; all-zero at first
 * @prog: a reference, or NULL with @why when it was not even asked
 * @answer: the worker's; @answered tells whether there is one
 * @map_fds: our descriptors of its maps, borrowed
 */
struct prog_user {
	struct uspace_prog *prog;
	struct reason why;
	bool answered;
	struct worker_answer answer;
	int map_fds[VERIFIER_MAPS_MAX];
	uint32_t map_cnt;
};

/** prog_user_fits() - whether programs of @type may run in processes: at uprobes, or on request;
 * where they are only verified, those that can be asked for without the kernel */
bool prog_user_fits(const struct tenant *tenant, uint32_t type);

/** prog_user_is_odd() - what a program asks of the verifier that ours does not do, NULL for nothing
 */
const char *prog_user_is_odd(const struct abi_prog_load *attr);

/**
 * prog_user_load() - have a program verified and compiled, where its type and maps allow
 * @insns: @attr->insn_cnt instructions with our own descriptors; only read
 * @fd_array: likewise, or NULL
 * @info: borrowed
 *
 * Return: 0, also when it cannot be placed (see @ret_user), or -errno: no memory, no worker.
 */
int prog_user_load(struct call *call, const struct abi_prog_load *attr,
		   const struct bpf_insn *insns, const int *fd_array, const char *license,
		   const struct verifier_info *info, const struct guestlog *log,
		   struct prog_user *ret_user);

/**
 * prog_user_stub() - the whole answer to a PROG_LOAD that the kernel must not see
 * @log: gets the verifier's text
 * @ret_true_size: of it
 *
 * Return: descriptor of a stub, owned by the caller, or the -errno of the verdict; -EPERM with a
 * reason when the program is sound but cannot be placed.
 */
int prog_user_stub(struct call *call, const struct abi_prog_load *attr, struct prog_user *user,
		   struct guestlog *log, uint32_t *ret_true_size);

/** prog_user_deinit() - idempotent */
void prog_user_deinit(struct prog_user *user);
