/* SPDX-License-Identifier: MIT */
/*
 * Our verifier in front of the kernel's: what becomes of a program that is to run in the kernel
 * (policy key "verifier"), or that is to be verified only (bpfshimd --verify-only). Called by
 * cmd_prog.c once all is copied and translated.
 */
#pragma once

#include "kernel-bridge/kprog.h"
#include "notifier/guestlog.h"

struct call;
struct prog_user;
struct verifier_info;

/**
 * gate_load() - have those verify it whom the policy names, then kprog_load()
 * @request: what the policy asks of programs that may not read kernel memory is set here
 * @info: what the program says of its functions and lines, borrowed
 * @user: an answer that was given for USER placement is taken for this one, too
 * @log: gets the text of whoever decided
 *
 * Return: 0 and @ret_result, or the -errno the tenant gets; the reason is in @call when it is ours.
 */
int gate_load(struct call *call, struct kprog_request *request, const struct verifier_info *info,
	      const struct prog_user *user, struct guestlog *log, struct kprog_result *ret_result);

/** gate_verify_only() - likewise, but ours alone decides, and what is loaded is a stub */
int gate_verify_only(struct call *call, const struct kprog_request *request,
		     const struct verifier_info *info, const struct prog_user *user,
		     struct guestlog *log, struct kprog_result *ret_result);
