/* SPDX-License-Identifier: MIT */
/*
 * Whether what was proved from one state holds from another.
 */
#include <string.h>

#include "verifier/packet.h"

#define IDS_MAX ((REGS + SLOTS) * FRAMES + REFS_MAX)

/* Ids are numbers of a path; between two states they only have to correspond. */
struct id_map {
	uint32_t a[IDS_MAX], b[IDS_MAX];
	uint32_t cnt;
};

struct cover {
	const struct origins *origins;
	enum covering how;
	struct id_map ids;
};

static bool ids_add(struct id_map *map, uint32_t a, uint32_t b)
{
	if (map->cnt == IDS_MAX)
		return false;
	map->a[map->cnt] = a;
	map->b[map->cnt++] = b;
	return true;
}

/* Two that were one are one, and two that were not are not. */
static bool ids_match(struct id_map *map, uint32_t a, uint32_t b)
{
	if (!a != !b)
		return false;
	if (!a)
		return true;
	for (uint32_t i = 0; i < map->cnt; i++)
		if (map->a[i] == a || map->b[i] == b)
			return map->a[i] == a && map->b[i] == b;
	return ids_add(map, a, b);
}

/*
 * Scalars that are linked in @a must be so in @b, by the same number; those that are in @b alone
 * are a part of what was looked at.
 */
static bool links_match(struct id_map *map, const struct reg *a, const struct reg *b)
{
	if (!a->id)
		return true;
	if (!b->id || a->added != b->added || a->off != b->off)
		return false;
	for (uint32_t i = 0; i < map->cnt; i++)
		if (map->a[i] == a->id)
			return map->b[i] == b->id;
	return ids_add(map, a->id, b->id);
}

static bool ranges_same(const struct range *a, const struct range *b)
{
	return range_covers(a, b) && range_covers(b, a);
}

static bool scalar_covers(struct cover *cover, const struct reg *a, const struct reg *b)
{
	if (cover->how == COVERS_SAME)
		return ranges_same(&a->r64, &b->r64) && ranges_same(&a->r32, &b->r32) &&
		       ids_match(&cover->ids, a->id, b->id) && a->added == b->added &&
		       a->off == b->off;
	if (cover->how == COVERS_NEEDED && !origin_is_marked(cover->origins, a->origin))
		return true;
	return range_covers(&a->r64, &b->r64) && range_covers(&a->r32, &b->r32) &&
	       links_match(&cover->ids, a, b);
}

/* Where more of the packet is known to be there, what was proved with less holds. */
static bool size_covers(const struct cover *cover, const struct reg *a, const struct reg *b)
{
	if (cover->how != COVERS_SAME && reg_is_packet(a) && !packet_has_ended(a) &&
	    !packet_has_ended(b))
		return a->size <= b->size;
	return a->size == b->size;
}

static bool reg_covers(struct cover *cover, const struct reg *a, const struct reg *b)
{
	/* What was proved without ever reading it holds whatever it is. */
	if (a->type == REG_NONE)
		return cover->how != COVERS_SAME || b->type == REG_NONE;
	if (a->type != b->type)
		return false;
	if (a->type == REG_SCALAR)
		return scalar_covers(cover, a, b);
	if (a->map != b->map || a->inner != b->inner || a->frame != b->frame || a->off != b->off ||
	    !size_covers(cover, a, b) || !ids_match(&cover->ids, a->id, b->id) ||
	    !ids_match(&cover->ids, a->dynptr, b->dynptr))
		return false;
	return cover->how == COVERS_SAME ? ranges_same(&a->r64, &b->r64)
					 : range_covers(&a->r64, &b->r64);
}

static bool slot_is_pointer(const struct slot *slot)
{
	return slot->bytes[0] == BYTE_SPILL && reg_is_pointer(&slot->spilled);
}

static bool byte_covers(enum covering how, uint8_t a, uint8_t b)
{
	if (how == COVERS_SAME)
		return a == b;
	/* What never was written may be anything. */
	return a == b || a == BYTE_NONE || (a == BYTE_MISC && b != BYTE_NONE && b != BYTE_DYNPTR);
}

/* A spilled number of which nothing was needed: as good as any bytes. */
static bool is_any_number(const struct cover *cover, const struct reg *reg)
{
	return cover->how == COVERS_NEEDED && reg->type == REG_SCALAR &&
	       !origin_is_marked(cover->origins, reg->origin);
}

static bool is_empty(const struct slot *slot)
{
	static const uint8_t none[sizeof(slot->bytes)];

	return memcmp(slot->bytes, none, sizeof(none)) == 0;
}

static bool slot_covers(struct cover *cover, const struct slot *a, const struct slot *b)
{
	unsigned int size = slot_spilled(a);
	bool any = size && is_any_number(cover, &a->spilled);

	/* Most of a stack is. */
	if (is_empty(a))
		return cover->how != COVERS_SAME || is_empty(b);
	if (a->bytes[0] == BYTE_DYNPTR &&
	    (b->bytes[0] != BYTE_DYNPTR || !reg_covers(cover, &a->spilled, &b->spilled)))
		return false;
	if (size && !any &&
	    (slot_spilled(b) != size || !reg_covers(cover, &a->spilled, &b->spilled)))
		return false;
	for (unsigned int i = any ? 0 : size; i < 8; i++) {
		uint8_t byte = i < size ? BYTE_MISC : a->bytes[i];

		/* Bytes of an address are nothing to compute with. */
		if (byte != BYTE_NONE && slot_is_pointer(b) && !slot_is_pointer(a))
			return false;
		if (!byte_covers(cover->how, byte, b->bytes[i]))
			return false;
	}
	return true;
}

static bool frame_covers(struct cover *cover, const struct frame *a, const struct frame *b)
{
	uint32_t cnt = a->slot_cnt;

	/* A loop that may end early at any turn was proved for no fewer turns than are left. */
	if (cover->how != COVERS_SAME && a->turns > b->turns)
		return false;
	for (uint32_t i = 0; i < REGS; i++)
		if (!reg_covers(cover, &a->regs[i], &b->regs[i]))
			return false;
	if (cover->how == COVERS_SAME && b->slot_cnt > cnt)
		cnt = b->slot_cnt;
	for (uint32_t i = 0; i < cnt; i++) {
		int off = -8 * (int)(i + 1);

		if (!slot_covers(cover, frame_peek(a, off), frame_peek(b, off)))
			return false;
	}
	return true;
}

bool state_same_calls(const struct state *a, const struct state *b)
{
	if (a->caller_cnt != b->caller_cnt)
		return false;
	for (uint32_t i = 0; i <= a->caller_cnt; i++) {
		const struct frame *left = state_frame(a, i), *right = state_frame(b, i);

		if (left->start != right->start || left->call != right->call ||
		    left->callback != right->callback)
			return false;
	}
	return true;
}

bool state_same_runs(const struct state *a, const struct state *b)
{
	for (uint32_t i = 0; i <= a->caller_cnt; i++)
		if (state_frame(a, i)->run != state_frame(b, i)->run)
			return false;
	return true;
}

bool state_covers(const struct origins *origins, const struct state *a, const struct state *b,
		  enum covering how)
{
	struct cover cover;

	cover.origins = origins;
	cover.how = how;
	cover.ids.cnt = 0; /* the rest is written before it is read */
	if (a->ref_cnt != b->ref_cnt || a->locked != b->locked || a->lock_map != b->lock_map ||
	    !ids_match(&cover.ids, a->lock_id, b->lock_id))
		return false;
	for (uint32_t i = a->caller_cnt + 1; i-- > 0;)
		if (!frame_covers(&cover, state_frame(a, i), state_frame(b, i)))
			return false;
	for (uint32_t i = 0; i < a->ref_cnt; i++)
		if (!ids_match(&cover.ids, a->refs[i].id, b->refs[i].id))
			return false;
	return true;
}
