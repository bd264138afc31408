/* SPDX-License-Identifier: MIT */
/*
 * Notifications under way, and what becomes of them without a daemon.
 */
#include "notifier/pending.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/sys.h"
#include "notifier/listener.h"

/* Far more than calls are carried out at the same time; pages are taken as they are used. */
#define PLACES 4096

/* A later kernel may write more than we know of. */
#define PLACE_SIZE 128
static_assert(sizeof(struct seccomp_notif) <= PLACE_SIZE, "room for a notification");

struct place {
	_Alignas(PLACE_SIZE) struct seccomp_notif notif;
};

/* @taken: for the daemon alone */
struct pending {
	atomic_bool taken[PLACES];
	struct place places[PLACES];
};

int pending_new(struct pending **ret_pending)
{
	struct pending *pending = mmap(NULL, sizeof(*pending), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (pending == MAP_FAILED)
		return -errno;
	*ret_pending = pending;
	return 0;
}

static int take(struct pending *pending)
{
	for (int place = 0; pending && place < PLACES; place++)
		if (!atomic_load(&pending->taken[place])) {
			atomic_store(&pending->taken[place], true);
			return place;
		}
	return -1;
}

int pending_receive(struct pending *pending, int listener, struct seccomp_notif *ret_notif,
		    int *ret_place)
{
	int place = take(pending);
	struct seccomp_notif *notif = place < 0 ? ret_notif : &pending->places[place].notif;
	int r = listener_receive(listener, notif);

	if (r < 0) {
		pending_done(pending, place);
		return r;
	}
	if (place >= 0)
		*ret_notif = *notif;
	*ret_place = place;
	return 0;
}

void pending_done(struct pending *pending, int place)
{
	if (place < 0)
		return;
	memset(&pending->places[place], 0, sizeof(pending->places[place]));
	atomic_store(&pending->taken[place], false);
}

static void answer(int listener, const struct seccomp_notif *notif)
{
	switch (notif->data.nr) {
	case SYS_prlimit64:
	case SYS_seccomp:
	case SYS_prctl:
		listener_send_continue(listener, notif->id);
		break;
	default:
		listener_send_error(listener, notif->id, -ENOSYS);
	}
}

void pending_answer_orphans(struct pending *pending, int listener)
{
	struct pollfd wait = {.fd = listener, .events = POLLIN};
	struct seccomp_notif notif;

	for (int place = 0; place < PLACES; place++)
		/* Zero: free, or not a received call yet. One that was answered is refused. */
		if (pending->places[place].notif.id)
			answer(listener, &pending->places[place].notif);
	for (;;) {
		if (poll(&wait, 1, -1) < 0 && errno != EINTR)
			return;
		if (wait.revents & POLLIN) {
			if (listener_receive(listener, &notif) == 0)
				answer(listener, &notif);
		} else if (wait.revents) {
			return;
		}
	}
}
