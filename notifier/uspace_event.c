/* SPDX-License-Identifier: MIT */
/*
 * Moves events from the rings of the region into the tool's perf buffers and ring buffers.
 *
 * One thread per tenant. Whatever it reads from the rings may have been written by anybody in the
 * tenant: a forged event reaches the tool's buffer like one that the tool's own program wrote,
 * which the tenant could have it do anyway, and nothing else.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel-bridge/forward.h"
#include "notifier/uspace.h"
#include "vm/runtime/runtime.h"

/* Longest sleep: bounds what a lost wake-up, or one that a hostile process ate, can delay. */
#define SLEEP_MS 100
/* The same while a tool's ring is full: nothing tells us that it has read. */
#define RETRY_MS 1
/* Of all slots, before what was taken for ring buffers is sent. */
#define TURNS 256u
/* Events taken from one slot before the next one has its turn. */
#define BURST 256u
/* Passes that take whatever one slot's ring may hold. */
#define FULL_RING_PASSES (REGION_RING_SIZE / sizeof(struct region_event) / BURST + 1)
/* Longest wait for the thread, and how often it is looked after meanwhile. */
#define SETTLE_TRIES	5000
#define SETTLE_SLEEP_NS 200000

/*
 * A ring is full of events, so one is read after every loss, and what is sent after that has the
 * report before it. @map may be NULL, and of a kind that has no way to a buffer.
 */
static void send(struct uspace_map *map, uint32_t slot)
{
	if (map && map->forward) {
		uspace_output_report(map, slot);
		forward_flush(map->forward);
	}
	uspace_map_unref(map);
}

/* Return: false when the event has to stay where it is. */
static bool take(struct uspace_map *map, uint32_t slot, const struct region_event *event,
		 unsigned char *data)
{
	if (map && map->forward) {
		rt_ring_data(map->uspace->base, slot, event, data);
		forward_output(map->forward, slot, event->flags, data, event->size);
	} else if (map && map->ring.writer) {
		return uspace_ring_take(map, slot, event, data);
	}
	return true;
}

/* Return: whether it was a line of text. */
static bool take_text(struct uspace *uspace, uint32_t slot, const struct region_event *event,
		      unsigned char *data)
{
	if (event->map != REGION_EVENT_TEXT)
		return false;
	uspace_text_take(uspace, slot, event, data);
	return true;
}

/* Move what stands in one slot's ring. Return: how many events. */
static uint32_t drain_slot(struct uspace *uspace, uint32_t slot, unsigned char *data)
{
	struct uspace_map *map = NULL;
	uint32_t moved = 0, id = 0;
	struct region_event event;

	while (moved < BURST && rt_ring_peek(uspace->base, slot, &event) > 0) {
		if (!map || event.map != id) {
			send(map, slot);
			id = event.map;
			map = uspace_map_by_id(uspace, id);
		}
		if (!take_text(uspace, slot, &event, data) && !take(map, slot, &event, data))
			break;
		rt_ring_skip(uspace->base, slot, &event);
		moved++;
	}
	send(map, slot);
	return moved;
}

static uint32_t drain_slots(struct uspace *uspace, unsigned char *data)
{
	const struct region_header *header = (void *)uspace->base;
	uint32_t moved = 0;

	for (uint32_t slot = 0; slot < header->slots; slot++)
		moved += drain_slot(uspace, slot, data);
	return moved;
}

/*
 * One pass over all slots; one that found nothing counts for as many as could be needed. Records of
 * ring buffers go in their order, from slot to slot, so that many short turns make a pass.
 */
static uint32_t drain(struct uspace *uspace, unsigned char *data, bool *ret_waits)
{
	uint32_t moved = 0, turn = 1;

	for (uint32_t i = 0; turn && i < TURNS && moved < BURST; i++) {
		turn = drain_slots(uspace, data);
		moved += turn;
		if (list_empty(&uspace->rings_busy))
			break;
	}
	*ret_waits = uspace_rings_flush(uspace);
	atomic_fetch_add(&uspace->events_passes, moved ? 1 : FULL_RING_PASSES);
	return moved;
}

/* Until a producer wakes us. Return: whether nobody did for as long as we ever sleep. */
static bool rest(struct region_shared *shared, bool waits)
{
	const struct timespec sleep = {.tv_nsec = (waits ? RETRY_MS : SLEEP_MS) * 1000000l};

	return syscall(SYS_futex, &shared->waiting, FUTEX_WAIT, 1, &sleep, NULL, 0) < 0 &&
	       errno == ETIMEDOUT && !waits;
}

static void *event_thread(void *arg)
{
	struct uspace *uspace = arg;
	struct region_shared *shared = (void *)(uspace->base + REGION_SHARED);
	unsigned char *data = malloc(REGION_EVENT_MAX);
	uint32_t looked = 0;

	while (data && !atomic_load(&uspace->events_stop)) {
		bool waits;

		if (drain(uspace, data, &waits))
			continue;
		/* Say that we sleep, then look once more: a producer that wrote before it could
		 * see the word must not be left waiting. */
		__atomic_store_n(&shared->waiting, 1, __ATOMIC_SEQ_CST);
		if (drain(uspace, data, &waits)) {
			__atomic_store_n(&shared->waiting, 0, __ATOMIC_RELAXED);
			continue;
		}
		looked = uspace_outputs_look(uspace, looked);
		if (rest(shared, waits))
			uspace_rings_settle(uspace);
	}
	uspace_rings_give_up(uspace);
	uspace_text_report(uspace);
	free(data);
	return NULL;
}

static void wake(struct uspace *uspace)
{
	struct region_shared *shared = (void *)(uspace->base + REGION_SHARED);

	__atomic_store_n(&shared->waiting, 0, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &shared->waiting, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void uspace_events_settle(struct uspace *uspace)
{
	static const struct timespec sleep = {.tv_nsec = SETTLE_SLEEP_NS};
	/* Twice: a pass that is under way may have gone by where an event is now. */
	unsigned int wanted = atomic_load(&uspace->events_passes) + 2 * FULL_RING_PASSES;

	if (!uspace->events_running)
		return;
	for (int i = 0; i < SETTLE_TRIES; i++) {
		if ((int)(atomic_load(&uspace->events_passes) - wanted) >= 0)
			return;
		wake(uspace);
		nanosleep(&sleep, NULL);
	}
}

int uspace_events_start(struct uspace *uspace)
{
	sigset_t all, old;
	int r;

	if (uspace->events_running)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&uspace->events, NULL, event_thread, uspace);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	uspace->events_running = r == 0;
	return -r;
}

void uspace_events_stop(struct uspace *uspace)
{
	if (!uspace->events_running)
		return;
	atomic_store(&uspace->events_stop, true);
	wake(uspace);
	pthread_join(uspace->events, NULL);
	uspace->events_running = false;
}
