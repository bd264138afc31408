/* SPDX-License-Identifier: MIT */
/*
 * Gives up everything a process has but its memory and one socket. There is no way back.
 */
#pragma once

/**
 * sandbox_enter() - call from the only thread, when everything that needs files has been loaded
 * @socket: the one descriptor that stays; all others are closed
 *
 * As root: empty file system, network, IPC and host name of its own, user nobody, no capability.
 * Always: no new privileges, not dumpable, limits, only the system calls that memory management and
 * the socket need, death together with the thread that started the process.
 *
 * Return: 0 or -errno; the process must not go on after a failure.
 */
int sandbox_enter(int socket);
