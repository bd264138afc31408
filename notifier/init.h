/* SPDX-License-Identifier: MIT */
/*
 * Pid 1 of an unprivileged tree.
 *
 * A fresh image of our own binary: a fork of the daemon would show the tenant, who may trace its
 * own init, the daemon's memory layout.
 */
#pragma once

#include <signal.h>

#define INIT_VERB "--init"

/** init_exec() - become init. Returns only on failure, with errno set. */
void init_exec(int self_fd, int sync_fd, char *const *argv, const sigset_t *mask);

/**
 * init_main() - install the filter, start the command, reap, forward signals
 * @argv: as init_exec() passed them: name, INIT_VERB, sync descriptor, signal mask, command
 *
 * Return: exit status of the command, 128 + N when a signal ended it.
 */
int init_main(int argc, char **argv);
