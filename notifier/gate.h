/* SPDX-License-Identifier: MIT */
/*
 * Our verifier in front of the kernel's: what it says of a program that is to run in the kernel
 * (policy key "verifier"), or of any at all (bpfshimd --verify-only). Called by cmd_prog.c; never
 * loads anything.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bpf_abi.h"
#include "notifier/guestlog.h"
#include "verifier/worker.h"

struct call;
struct prog_user;

/** enum gate_verdict - @GATE_UNDECIDED: not covered, too much for it, or no worker to ask */
enum gate_verdict {
	GATE_NOT_ASKED,
	GATE_ACCEPTED,
	GATE_REFUSED,
	GATE_UNDECIDED,
};

/**
 * struct gate - what became of a question; all-zero at first
 * @error: -errno that goes with a refusal, or why it is undecided
 * @answer: the worker's, owned by @own or borrowed from the prog_user
 * @map_fds: our descriptors of the program's maps, borrowed; @map_cnt of them
 */
struct gate {
	enum gate_verdict verdict;
	int error;
	const struct worker_answer *answer;
	struct worker_answer own;
	struct reason why;
	int map_fds[VERIFIER_MAPS_MAX];
	uint32_t map_cnt;
};

/**
 * gate_ask() - have the worker verify a program
 * @insns, @fd_array: with our own descriptors; only read
 * @user: an answer that was given for USER placement is taken for this one, too
 * @log_level, @log_size: of the text in the answer
 *
 * Return: 0 and @ret_gate, or -ENOMEM.
 */
int gate_ask(struct call *call, const struct abi_prog_load *attr, const struct bpf_insn *insns,
	     const int *fd_array, const char *license, const struct prog_user *user,
	     uint32_t log_level, uint32_t log_size, struct gate *ret_gate);

/**
 * gate_deliver_log() - our verifier's text in the place of what @log holds
 * @ret_true_size: of it, as the kernel would say
 *
 * Return: @error, or -ENOSPC when the log is too small for the text.
 */
int gate_deliver_log(const struct gate *gate, struct guestlog *log, int error,
		     uint32_t *ret_true_size);

/** gate_deinit() - idempotent */
void gate_deinit(struct gate *gate);
