/* SPDX-License-Identifier: MIT */
/*
 * See test_run_packet.h. The context is the structure that programs know, in which addresses have
 * 32 bits: it and the packet lie where these are enough.
 *
 * Source: net/bpf/test_run.c, Linux 6.12; the same order of checks.
 */
#include "notifier/test_run_packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "shim/test_run.h"

#define PACKET_ROOM  4096u /* a page, in the kernel, with what is around a packet */
#define HEAD_SKB     64u   /* NET_SKB_PAD */
#define HEAD_XDP     256u  /* XDP_PACKET_HEADROOM */
#define FRAME_SIZE   32u   /* struct xdp_frame, which lies there, too */
#define TAIL	     320u  /* struct skb_shared_info, aligned */
#define WIRE_MAX     65536u
#define SEGMENTS_MAX 65535u
#define LOOPBACK     1u

#define FLAG_CHECKSUM 4u /* BPF_F_TEST_SKB_CHECKSUM_COMPLETE */

/**
 * struct packet - of one run
 * @ctx: what the caller gives, or all zero; @has_ctx: it wants it back or gives one
 * @bytes: the packet behind @head bytes of room; @size of them
 * @meta: XDP: that many before the packet are its meta data
 * @pulled: bytes of @size that a program does not see: the Ethernet header
 */
struct packet {
	const struct abi_test_run *attr;
	uint64_t attr_at;
	uint32_t type;
	union {
		struct __sk_buff skb;
		struct xdp_md xdp;
		unsigned char raw[REGION_TEST_RUN_CTX];
	} ctx;
	bool has_ctx;
	uint32_t head, size, meta, pulled;
	unsigned char bytes[PACKET_ROOM];
};

static_assert(sizeof(struct __sk_buff) <= REGION_TEST_RUN_CTX, "room for a context");

/* Of a part of struct __sk_buff that the caller may not set. */
static bool is_zero(const struct packet *packet, size_t from, size_t to)
{
	while (from < to && !packet->ctx.raw[from])
		from++;
	return from >= to;
}

#define BETWEEN(packet, before, behind)                                                            \
	is_zero(packet,                                                                            \
		offsetof(struct __sk_buff, before) + sizeof(((struct __sk_buff *)0)->before),      \
		offsetof(struct __sk_buff, behind))

/* convert___skb_to_skb() */
static int check_skb(const struct packet *packet)
{
	const struct __sk_buff *skb = &packet->ctx.skb;
	const uint32_t len = packet->size - packet->pulled;

	if (!packet->has_ctx)
		return 0;
	if (!is_zero(packet, 0, offsetof(struct __sk_buff, mark)) ||
	    !BETWEEN(packet, mark, priority) || !BETWEEN(packet, ifindex, cb) ||
	    !BETWEEN(packet, cb, tstamp) || !BETWEEN(packet, gso_segs, gso_size) ||
	    !BETWEEN(packet, gso_size, hwtstamp) ||
	    !is_zero(packet, offsetof(struct __sk_buff, hwtstamp) + sizeof(skb->hwtstamp),
		     sizeof(*skb)))
		return -EINVAL;
	if (skb->wire_len && (skb->wire_len < len || skb->wire_len > WIRE_MAX))
		return -EINVAL;
	return skb->gso_segs > SEGMENTS_MAX ? -EINVAL : 0;
}

/* A copy of what the caller gives: what is longer must be zero behind. bpf_ctx_init() */
static int read_ctx(struct call *call, struct packet *packet, uint32_t max)
{
	const struct abi_test_run *attr = packet->attr;
	uint32_t size = attr->ctx_size_in;
	int r;

	packet->has_ctx = attr->ctx_in || attr->ctx_out;
	if (!attr->ctx_in)
		return 0;
	if (size > (uint32_t)sysconf(_SC_PAGESIZE))
		return -E2BIG;
	if (size > max) {
		r = guest_zero(&call->guest, attr->ctx_in + max, size - max);
		if (r < 0)
			return r;
		size = max;
	}
	return guest_read(&call->guest, attr->ctx_in, packet->ctx.raw, size);
}

static int read_packet(struct call *call, struct packet *packet, uint32_t head)
{
	packet->size = packet->attr->data_size_in;
	packet->head = head;
	if (packet->size > PACKET_ROOM - head - TAIL)
		return -EINVAL;
	return guest_read(&call->guest, packet->attr->data_in, packet->bytes + head, packet->size);
}

static uint16_t ether_type(const struct packet *packet)
{
	uint16_t type;

	memcpy(&type, packet->bytes + packet->head + 12, sizeof(type));
	return type;
}

/* eth_type_trans(), net/ethernet/eth.c; in network order */
static uint16_t protocol_of(const struct packet *packet)
{
	const unsigned char *payload = packet->bytes + packet->head + ETH_HLEN;
	const uint16_t type = ether_type(packet);

	if (ntohs(type) >= ETH_P_802_3_MIN)
		return type;
	if (packet->size >= ETH_HLEN + 2 && payload[0] == 0xff && payload[1] == 0xff)
		return htons(ETH_P_802_3);
	return htons(ETH_P_802_2);
}

/* The loopback device has an address of zeros, and none to reach all. */
static uint32_t packet_type_of(const struct packet *packet)
{
	static const unsigned char own[ETH_ALEN] = {0};
	const unsigned char *to = packet->bytes + packet->head;

	if (memcmp(to, own, ETH_ALEN) == 0)
		return PACKET_HOST;
	return to[0] & 1 ? PACKET_MULTICAST : PACKET_OTHERHOST;
}

static int load_skb(struct call *call, struct packet *packet)
{
	const struct abi_test_run *attr = packet->attr;
	const bool whole =
		packet->type == BPF_PROG_TYPE_SCHED_CLS || packet->type == BPF_PROG_TYPE_SCHED_ACT;
	uint32_t least = 0;
	int r;

	if (attr->flags & ~FLAG_CHECKSUM || attr->cpu || attr->batch_size)
		return -EINVAL;
	if (attr->data_size_in < ETH_HLEN)
		return -EINVAL;
	r = read_packet(call, packet, HEAD_SKB);
	if (r == 0)
		r = read_ctx(call, packet, sizeof(struct __sk_buff));
	if (r < 0)
		return r;
	if (packet->ctx.skb.ifindex > LOOPBACK)
		return reason_set(&call->reason, -ENODEV, "no device but the first is known");
	if (ether_type(packet) == htons(ETH_P_IP))
		least = 20;
	else if (ether_type(packet) == htons(ETH_P_IPV6))
		least = 40;
	if (packet->size - ETH_HLEN < least)
		return -EINVAL;
	packet->pulled = whole ? 0 : ETH_HLEN;
	return check_skb(packet);
}

static int load_xdp(struct call *call, struct packet *packet)
{
	const struct abi_test_run *attr = packet->attr;
	const struct xdp_md *xdp = &packet->ctx.xdp;
	int r;

	if (attr->flags)
		return reason_set(&call->reason, -EINVAL, "live frames are not served");
	if (attr->batch_size)
		return -EINVAL;
	r = read_ctx(call, packet, sizeof(struct xdp_md));
	if (r < 0)
		return r;
	if (packet->has_ctx) {
		if (xdp->data_meta || xdp->data_end > attr->data_size_in ||
		    xdp->data > xdp->data_end)
			return -EINVAL;
		/* xdp_metalen_invalid() */
		packet->meta = xdp->data;
		if (packet->meta % 4 || packet->meta > 252 || packet->meta > HEAD_XDP - FRAME_SIZE)
			return -EINVAL;
		if (xdp->data_end != attr->data_size_in)
			return reason_set(&call->reason, -EINVAL,
					  "packets in fragments are not served");
	}
	if (attr->data_size_in - packet->meta < ETH_HLEN || attr->data_size_in < packet->meta)
		return -EINVAL;
	if (attr->data_size_in > PACKET_ROOM - HEAD_XDP + packet->meta - TAIL)
		return reason_set(&call->reason, -EINVAL, "packets in fragments are not served");
	r = read_packet(call, packet, HEAD_XDP - packet->meta);
	if (r == 0 && packet->has_ctx &&
	    (xdp->egress_ifindex || (!xdp->ingress_ifindex && xdp->rx_queue_index) ||
	     (xdp->ingress_ifindex && xdp->rx_queue_index)))
		r = -EINVAL;
	if (r == 0 && xdp->ingress_ifindex > LOOPBACK)
		r = reason_set(&call->reason, -ENODEV, "no device but the first is known");
	return r;
}

static void prepare(const struct shim_test_run *run, uint64_t at, unsigned char *ctx,
		    unsigned char *memory)
{
	const struct packet *packet = run->data;
	const uint32_t data = (uint32_t)at + packet->head + packet->meta + packet->pulled;
	const uint32_t end = (uint32_t)at + packet->head + packet->size;

	memcpy(memory, packet->bytes, sizeof(packet->bytes));
	if (packet->type == BPF_PROG_TYPE_XDP) {
		const struct xdp_md xdp = {
			.data = data,
			.data_end = end,
			.data_meta = data - packet->meta,
			.ingress_ifindex = LOOPBACK,
		};

		memcpy(ctx, &xdp, sizeof(xdp));
	} else {
		struct __sk_buff skb = packet->ctx.skb;
		const unsigned char *ip = packet->bytes + packet->head + ETH_HLEN;
		uint64_t header;

		skb.len = end - data;
		skb.pkt_type = packet_type_of(packet);
		skb.protocol = protocol_of(packet);
		skb.ifindex = LOOPBACK;
		skb.data = data;
		skb.data_meta = data;
		skb.data_end = end;
		/* For the runtime: no program sees it. */
		header = at + packet->head;
		memcpy((unsigned char *)&skb + offsetof(struct __sk_buff, sk), &header,
		       sizeof(header));
		if (packet->has_ctx && !skb.wire_len)
			skb.wire_len = skb.len;
		if (skb.protocol == htons(ETH_P_IP)) {
			skb.family = AF_INET;
			memcpy(&skb.local_ip4, ip + 12, 4);
			memcpy(&skb.remote_ip4, ip + 16, 4);
		} else if (skb.protocol == htons(ETH_P_IPV6)) {
			skb.family = AF_INET6;
			memcpy(skb.local_ip6, ip + 8, 16);
			memcpy(skb.remote_ip6, ip + 24, 16);
		}
		memcpy(ctx, &skb, sizeof(skb));
	}
}

static int give(const struct shim_test_run *run, size_t offset, uint32_t value)
{
	const struct packet *packet = run->data;

	return shim_test_give(run->tid, packet->attr_at + offset, &value, sizeof(value));
}

/* bpf_test_finish() */
static int give_packet(const struct shim_test_run *run, const struct shim_test_result *result)
{
	const struct packet *packet = run->data;
	const struct abi_test_run *attr = packet->attr;
	unsigned char bytes[PACKET_ROOM];
	uint32_t copied = packet->size;
	int r = 0, short_of = 0;

	memcpy(bytes, result->memory + packet->head, packet->size);
	/* What was pulled comes back empty. */
	memset(bytes, 0, packet->pulled);
	if (attr->data_size_out && copied > attr->data_size_out) {
		copied = attr->data_size_out;
		short_of = -ENOSPC;
	}
	if (attr->data_out && copied)
		r = shim_test_give(run->tid, attr->data_out, bytes, copied);
	if (r == 0)
		r = give(run, offsetof(struct abi_test_run, data_size_out), packet->size);
	if (r == 0)
		r = give(run, offsetof(struct abi_test_run, retval), result->retval);
	if (r == 0)
		r = give(run, offsetof(struct abi_test_run, duration), result->duration);
	return r < 0 ? r : short_of;
}

/* convert_skb_to___skb(), xdp_convert_buff_to_md() */
static uint32_t show_ctx(const struct packet *packet, const unsigned char *left,
			 unsigned char *ret_ctx)
{
	struct __sk_buff skb;
	struct xdp_md xdp;

	memcpy(ret_ctx, packet->ctx.raw, sizeof(packet->ctx));
	if (packet->type == BPF_PROG_TYPE_XDP) {
		xdp = packet->ctx.xdp;
		xdp.data = packet->meta;
		xdp.data_end = packet->size;
		memcpy(ret_ctx, &xdp, sizeof(xdp));
		return sizeof(xdp);
	}
	memcpy(&skb, left, sizeof(skb));
	skb = (struct __sk_buff){
		.mark = skb.mark,
		.priority = skb.priority,
		.ingress_ifindex = skb.ingress_ifindex,
		.ifindex = LOOPBACK,
		.tstamp = skb.tstamp,
		.cb = {skb.cb[0], skb.cb[1], skb.cb[2], skb.cb[3], skb.cb[4]},
		.wire_len = skb.wire_len,
		.gso_segs = skb.gso_segs,
		.gso_size = packet->ctx.skb.gso_size,
		.hwtstamp = skb.hwtstamp,
	};
	memcpy(ret_ctx, &skb, sizeof(skb));
	return sizeof(skb);
}

/* bpf_ctx_finish() */
static int give_ctx(const struct shim_test_run *run, const struct shim_test_result *result)
{
	const struct packet *packet = run->data;
	const struct abi_test_run *attr = packet->attr;
	unsigned char ctx[REGION_TEST_RUN_CTX] = {0};
	uint32_t size = show_ctx(packet, result->ctx, ctx);
	uint32_t copied = size < attr->ctx_size_out ? size : attr->ctx_size_out;
	int r;

	if (!packet->has_ctx || !attr->ctx_out)
		return 0;
	r = shim_test_give(run->tid, attr->ctx_out, ctx, copied);
	if (r == 0)
		r = give(run, offsetof(struct abi_test_run, ctx_size_out), size);
	return r < 0 ? r : copied < size ? -ENOSPC : 0;
}

static int finish(const struct shim_test_run *run, const struct shim_test_result *result)
{
	int r = give_packet(run, result);

	return r < 0 ? r : give_ctx(run, result);
}

int test_run_packet(struct call *call, struct uspace_prog *prog, uint32_t type)
{
	const struct abi_test_run *attr = &call->attr.test_run;
	struct shim_test_run run = {.cpu = REGION_TEST_RUN_ANY_CPU,
				    .repeat = attr->repeat ? attr->repeat : 1,
				    .memory_size = PACKET_ROOM,
				    .prepare = prepare,
				    .finish = finish};
	cleanup_free struct packet *packet = calloc(1, sizeof(*packet));
	int r;

	if (!packet)
		return -ENOMEM;
	packet->attr = attr;
	packet->attr_at = call->notif.data.args[1];
	packet->type = type;
	run.data = packet;
	r = type == BPF_PROG_TYPE_XDP ? load_xdp(call, packet) : load_skb(call, packet);
	/* All is copied. */
	if (r == 0 && !guest_valid(&call->guest))
		r = -ESRCH;
	return r < 0 ? r : uspace_test_run(call, prog, &run);
}
