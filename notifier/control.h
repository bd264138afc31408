/* SPDX-License-Identifier: MIT */
/*
 * The daemon's control socket, where bpfshimctl asks what it is doing.
 *
 * /run/bpfshim/daemons/PID.sock, mode 0600, one request line per connection, answered with one JSON
 * document. Requests: "ps".
 */
#pragma once

#include "notifier/loop.h"
#include "notifier/pool.h"

#define CONTROL_DIR "/run/bpfshim/daemons"

struct tenant;
struct control;

/**
 * control_new() - listen
 * @tenant: the one tenant of an embedded daemon; not owned
 *
 * Return: 0 or -errno.
 */
int control_new(struct loop *loop, struct pool *pool, struct tenant *tenant,
		struct control **ret_control);

/** control_free() - stop listening and remove the socket; accepts NULL. Return: NULL. */
struct control *control_free(struct control *control);

/** control_path() - file name of the socket, for whoever must remove it if the daemon dies */
const char *control_path(const struct control *control);
