/* SPDX-License-Identifier: MIT */
/*
 * Packets: of programs that are run on request, whose context is a struct __sk_buff with the
 * packet's addresses in it. It is the process' own memory, and so is what these lead to.
 *
 * Source: net/core/filter.c, Linux 6.12.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include "vm/runtime/bytes.h"
#include "vm/runtime/helpers.h"
#include "vm/runtime/packet.h"

/* From where negative offsets of loads count: include/uapi/linux/filter.h */
#define FROM_NET  (-0x100000)
#define FROM_LINK (-0x200000)

#define OFFSET_MAX   0x7fffffffu
#define RELATIVE_MAX 0xffffu
#define STORE_FLAGS  3u /* BPF_F_RECOMPUTE_CSUM, BPF_F_INVALIDATE_HASH */

/* The Ethernet header; the program may not see the field. */
static uint64_t link_header(const struct __sk_buff *skb)
{
	return rt_get64((const unsigned char *)skb + offsetof(struct __sk_buff, sk));
}

/* Address of @len bytes at @start + @offset, or 0. */
static uint64_t reach(const struct __sk_buff *skb, uint64_t start, uint64_t offset, uint64_t len)
{
	return start + offset + len <= rt_load(&skb->data_end) ? start + offset : 0;
}

int64_t rt_packet_load(const struct __sk_buff *skb, int32_t offset, uint32_t size)
{
	uint64_t at;

	if (offset >= 0)
		at = reach(skb, rt_load(&skb->data), (uint64_t)offset, size);
	else if (offset >= FROM_NET)
		at = reach(skb, link_header(skb) + ETH_HLEN, (uint64_t)(offset - FROM_NET), size);
	else if (offset >= FROM_LINK)
		at = reach(skb, link_header(skb), (uint64_t)(offset - FROM_LINK), size);
	else
		at = 0;
	if (!at)
		return -EFAULT;
	switch (size) {
	case 1:
		return rt_get8((const void *)at);
	case 2:
		return (int64_t)rt_get8((const void *)at) << 8 | rt_get8((const void *)(at + 1));
	default:
		return __builtin_bswap32(rt_get32((const void *)at));
	}
}

static uint64_t copy_out(uint64_t from, void *to, uint32_t len)
{
	if (!from) {
		rt_zero(to, len);
		return (uint64_t)-EFAULT;
	}
	rt_copy(to, (const void *)from, len);
	return 0;
}

/* r1 context, r2 offset, r3 and r4 where it goes. */
uint64_t rt_skb_load_bytes(RT_HELPER_ARGS)
{
	const struct __sk_buff *skb = (const void *)r1;
	const uint32_t offset = (uint32_t)r2, len = (uint32_t)r4;

	return copy_out(offset > OFFSET_MAX ? 0 : reach(skb, rt_load(&skb->data), offset, len),
			(void *)r3, len);
}

/* r5 what the offset counts from. */
uint64_t rt_skb_load_bytes_relative(RT_HELPER_ARGS)
{
	const struct __sk_buff *skb = (const void *)r1;
	const uint32_t offset = (uint32_t)r2, len = (uint32_t)r4;
	uint64_t from = 0;

	if (offset <= RELATIVE_MAX && (uint32_t)r5 == BPF_HDR_START_MAC)
		from = reach(skb, link_header(skb), offset, len);
	else if (offset <= RELATIVE_MAX && (uint32_t)r5 == BPF_HDR_START_NET)
		from = reach(skb, link_header(skb) + ETH_HLEN, offset, len);
	return copy_out(from, (void *)r3, len);
}

/* r3 and r4 what is stored, r5 flags. There are no sums or hashes to keep up with it. */
uint64_t rt_skb_store_bytes(RT_HELPER_ARGS)
{
	const struct __sk_buff *skb = (const void *)r1;
	const uint32_t offset = (uint32_t)r2, len = (uint32_t)r4;
	uint64_t at;

	if (r5 & ~(uint64_t)STORE_FLAGS)
		return (uint64_t)-EINVAL;
	at = offset > OFFSET_MAX ? 0 : reach(skb, rt_load(&skb->data), offset, len);
	if (!at)
		return (uint64_t)-EFAULT;
	rt_copy((void *)at, (const void *)r3, len);
	return 0;
}
