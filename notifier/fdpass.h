/* SPDX-License-Identifier: MIT */
/*
 * One descriptor over a connected AF_UNIX socket.
 */
#pragma once

/** fdpass_send() - send @fd with one byte. Return: 0 or -errno. Owns: nothing, @fd stays open. */
int fdpass_send(int sock, int fd);

/**
 * fdpass_recv() - receive one descriptor, CLOEXEC
 *
 * Return: the descriptor, owned by the caller, or -errno; -EPIPE when the peer is gone, -EPROTO
 * when it sent something else.
 */
int fdpass_recv(int sock);
