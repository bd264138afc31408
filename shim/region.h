/* SPDX-License-Identifier: MIT */
/*
 * The region: what a tenant's USER-placed programs, their helpers and their maps look like in the
 * address space of a traced process. This is the ABI between daemon, worker, runtime and stubs;
 * all of them are built from it.
 *
 *	offset from the region's base (the same in every process)
 *	REGION_TEXT	runtime text and constants	R-X, shared, read-only descriptor
 *	REGION_CODE	programs, map and site records	R-X, the same file as the text
 *	REGION_SHARED	slots, event rings, counters	RW-, shared by the tenant's processes
 *	REGION_MAPS	map memory			RW-, the same file as REGION_SHARED
 *	REGION_ARRAYS	mmapped kernel arrays		RW- or R--, one file each
 *	REGION_CONFIG	this process' facts		RW-, private
 *	REGION_CACHE	what a fork makes wrong		RW-, private, MADV_WIPEONFORK
 *	REGION_SHADOW	pending function returns	RW-, private
 *
 * Only what is in use is mapped, in pieces; the rest are holes, which no limit of the process
 *counts.
 *
 * Only the daemon writes the first two. Everything from REGION_SHARED on is hostile to whoever
 *reads it, the runtime included: another process of the tenant may change it between two reads.
 *Indices read from it are brought into bounds before use, walks are bounded, pointers are never
 *stored.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define REGION_VERSION 1u

#define REGION_TEXT	   0x0000000ull
#define REGION_TEXT_SIZE   0x0020000ull /* 128 KiB */
#define REGION_CODE	   0x0020000ull
#define REGION_CODE_SIZE   0x1fe0000ull /* to 32 MiB */
#define REGION_SHARED	   0x2000000ull
#define REGION_SHARED_SIZE 0x1000000ull /* 16 MiB, sparse */
#define REGION_MAPS	   0x3000000ull
#define REGION_MAPS_SIZE   0xd000000ull /* 208 MiB, sparse */
#define REGION_ARRAYS	   0x10000000ull
#define REGION_ARRAYS_SIZE 0x10000000ull /* 256 MiB of addresses */
#define REGION_CONFIG	   0x20000000ull
#define REGION_CACHE	   0x20001000ull
#define REGION_SHADOW	   0x20002000ull
#define REGION_SHADOW_SIZE 0x0040000ull	 /* 256 KiB, touched as used */
#define REGION_STACKS	   0x20042000ull /* where targets need them */
#define REGION_STACKS_SIZE 0x0200000ull	 /* 2 MiB, touched as used */
#define REGION_SIZE	   0x20242000ull

/* The code file holds text and code; the shared file holds the shared part and the maps. */
#define REGION_CODE_FILE_SIZE	(REGION_CODE + REGION_CODE_SIZE)
#define REGION_SHARED_FILE_SIZE (REGION_SHARED_SIZE + REGION_MAPS_SIZE)

/*
 * CPU slots. A program run owns one, from entry to exit: per-CPU values of index N belong to the
 * owner of slot N alone, which is the exclusivity a kernel program has on its CPU. There are as
 * many as possible CPUs, because tools read one value per possible CPU.
 *
 * @owner: 0 when free, else pid << 32 | tag of its pid namespace << 20 | tag of its thread
 *	(runtime/slot.c); the pid is the one the process itself sees
 * @sp: where the owner's run stands on its stack, 0 unknown
 * @episodes: how often the slot was given back or taken over
 * @stalled: @episodes + 1 of an ownership that somebody waited for in vain
 */
#define REGION_SLOTS_MAX 256u
struct region_slot {
	uint64_t owner;
	uint64_t sp, episodes, stalled;
	uint64_t pad[4];
};
static_assert(sizeof(struct region_slot) == 64, "one cache line a slot");

/*
 * Event rings, one per slot: the owner of the slot is the only producer, the daemon's forwarder the
 * only consumer. @head and @tail count bytes and only grow; the place is taken modulo the size.
 * A record is struct region_event followed by @size bytes, padded to 8.
 *
 * A record that a program has reserved and not yet submitted stands behind @head, and so does
 * whatever is written meanwhile; @head moves when the last reserved one is given back. What stands
 * there then is void when its run ended otherwise: the slot has had another owner since.
 * @pending: bytes behind @head that are written
 * @outstanding: reserved records among them; 0: @pending and @episode mean nothing
 * @episode: struct region_slot.episodes of the run that reserved them
 *
 * @waiting: 1 while the forwarder sleeps on @waiting as a futex (shared); a producer that swaps it
 * to 0 wakes it
 */
#define REGION_RING_SIZE 0x20000u /* bytes, a power of two */
#define REGION_EVENT_MAX 0x8000u  /* bytes of data in one event */
struct region_ring {
	uint64_t head; /* this and the next three are written by the producer */
	uint64_t pending, outstanding, episode;
	uint64_t pad0[4];
	uint64_t tail; /* written by the consumer */
	uint64_t pad1[7];
};
struct region_event {
	uint32_t size;	/* bytes of data that follow */
	uint32_t map;	/* struct region_map.id, 0: nobody's, to fill the ring's end */
	uint64_t flags; /* as given to bpf_perf_event_output(); ring buffer: see there */
};
static_assert(sizeof(struct region_event) == 16, "records stay aligned to 8");
/**
 * struct region_text - before a line that a program printed; struct region_event.map is
 * REGION_EVENT_TEXT then, and its flags are the thread's number
 * @time_ns: of the monotonic clock
 * @comm: of the thread, ended by a zero
 */
#define REGION_EVENT_TEXT UINT32_MAX
struct region_text {
	uint64_t time_ns;
	char comm[16];
};

/* Counters of one attachment, per slot (plain additions by its owner); bpfshimctl sums them. */
#define REGION_ATTACH_MAX 1024u
struct region_counter {
	uint64_t hits;
	uint64_t missed; /* no slot, or no map's lock, could be had in time; any thread may add */
};

/* What REGION_SHARED starts with. Arrays by slot number. */
struct region_shared {
	uint32_t waiting; /* see struct region_ring */
	uint32_t pad[15];
	struct region_slot slots[REGION_SLOTS_MAX];
	struct region_ring rings[REGION_SLOTS_MAX];
};
#define REGION_COUNTERS 0x100000ull /* from REGION_SHARED: [slot][attachment] */
/* From REGION_SHARED, by slot: room that helpers need for a moment and stacks may not have. */
#define REGION_SCRATCH	    0x500000ull
#define REGION_SCRATCH_SIZE 0x800u
#define REGION_RINGS	    0x600000ull /* from REGION_SHARED: bytes of the rings, by slot */
static_assert(sizeof(struct region_shared) <= REGION_COUNTERS, "shared part");
static_assert(REGION_COUNTERS + sizeof(struct region_counter) * REGION_SLOTS_MAX *
					REGION_ATTACH_MAX <=
		      REGION_SCRATCH,
	      "counters");
static_assert(REGION_SCRATCH + REGION_SCRATCH_SIZE * REGION_SLOTS_MAX <= REGION_RINGS, "scratch");
/* More slots than fit here would need a larger shared part: REGION_RINGS_MAX slots have a ring. */
#define REGION_RINGS_MAX ((REGION_SHARED_SIZE - REGION_RINGS) / REGION_RING_SIZE)

#define REGION_HAS_RDPID    1u
#define REGION_HAS_FSGSBASE 2u
/**
 * struct region_header - first bytes of the text
 * @slots: CPU slots in use: possible CPUs, at most REGION_RINGS_MAX
 * @off: set to 1 by the daemon or its keeper: hits run nothing any more
 * @features: REGION_HAS_*, of the host's processors, as rt_cpu_features() finds them; 0 is always
 *	right, only slower
 * @generation: of the daemon's plan for targets; nobody else looks at it
 * @own_filters: 1 once a process of the tenant has asked for a seccomp filter of its own; likewise
 * @unwinder: 0; the struct region_site of stubs at gcc's _Unwind_Find_FDE(), which has no
 *attachments
 * @enter, @ret: offsets of the runtime's entry points (see struct region_stub and the shadow table)
 * @tick_ns: of the kernel's jiffies (ns); 0 unknown
 * @jiffies: what they were when the monotonic clock was 0, less REGION_JIFFIES_START
 * @enter_small: offset of the entry point for stacks on which there is little room
 * @test_run, @test_run_end: offsets of the entry for a struct region_test_run, and of what follows
 *	the system call that ends it
 * @withdrawn: the latest @generation in which a site was given up; nobody else looks at it, either
 */
struct region_header {
	uint32_t version, slots, off, features;
	uint64_t enter, ret;
	uint64_t generation;
	uint64_t unwinder;
	uint64_t own_filters;
	uint32_t tick_ns;
	int32_t jiffies;
	uint64_t enter_small;
	uint64_t test_run, test_run_end;
	uint64_t withdrawn;
};
/* INITIAL_JIFFIES, include/linux/jiffies.h: they begin five minutes before 2^32 */
#define REGION_JIFFIES_START(tick_ns) ((1ull << 32) - 300000000000ull / (tick_ns))
static_assert(sizeof(struct region_header) == 96, "the runtime's text starts behind it");

/** region_set_jiffies() - @at_zero: lower half of the kernel's count when the monotonic clock was 0
 */
static inline void region_set_jiffies(struct region_header *header, uint32_t tick_ns,
				      uint32_t at_zero)
{
	header->jiffies = (int32_t)(at_zero - (uint32_t)REGION_JIFFIES_START(tick_ns));
	header->tick_ns = tick_ns;
}

/**
 * struct region_map - a map, in the code part: read-only in targets, so all of it can be trusted
 * @type: BPF_MAP_TYPE_*
 * @value_stride: value_size rounded up to 8: distance of per-CPU values
 * @elem_stride: bytes of one hash element with its header
 * @buckets: hash: number of buckets; bloom filter: of bits; a power of two
 * @slots: per-CPU types: values per element
 * @id: number of the map for events and logs
 * @data, @data_size: its memory, offset from the region's base, and bytes; of a perf event array:
 *	per slot a uint64_t, how many of its events found the ring full, by the slot's owner; of a
 *	ring buffer: the first page of the kernel's, which targets can only read; of maps of
 *programs and of maps: in the code part, see vm/runtime/table.h
 * @seed: of the hash function
 * @extra: bloom filter: number of hash functions, 0 for the usual one; ring buffer: offset of its
 *	struct region_ringbuf from the region's base
 */
struct region_map {
	uint32_t type, key_size, value_size, max_entries, flags;
	uint32_t value_stride, elem_stride, buckets, slots, id;
	uint64_t data, data_size;
	uint32_t seed, extra;
};
static_assert(sizeof(struct region_map) == 64, "one line a map");

/*
 * A ring buffer is the kernel's. What is on the way there is counted here, in bytes as the kernel's
 * ring needs them.
 *
 * @claimed: by programs, one exchange each. What it was before is the record's position: records go
 * to the kernel in this order, from whichever slot
 * @offset: of the kernel's positions to these, by the daemon: @claimed + @offset is where the
 * ring's producer will be when all has arrived. It changes when a record does not come that was
 * claimed, and when others write to the ring
 *
 * struct region_event.flags of a record: its position, which is a multiple of 8, with
 * BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP or REGION_RECORD_DISCARD
 */
#define REGION_RECORD_FLAGS   7u
#define REGION_RECORD_DISCARD 4u
#define REGION_RINGBUF_HDR    8u      /* BPF_RINGBUF_HDR_SZ */
#define REGION_RINGBUF_PAGE   0x1000u /* bytes: the kernel's page with the consumer's position */
struct region_ringbuf {
	uint64_t claimed;
	uint64_t pad0[7];
	uint64_t offset;
	uint64_t pad1[7];
};

/* Bytes of the kernel's ring that a record of @size bytes takes. */
static inline uint64_t region_ringbuf_need(uint64_t size)
{
	return (size + REGION_RINGBUF_HDR + 7) & ~7ull;
}

/**
 * struct region_attach - one program at a site
 * @code: its entry point, offset from the region's base: uint64_t (*)(void *ctx, struct rt_run *);
 *	changed by single stores while threads run, to other code of the same program
 * @cookie: bpf_get_attach_cookie()
 * @counter: index below REGION_ATTACH_MAX
 * @flags: REGION_ATTACH_*
 */
struct region_attach {
	uint64_t code, cookie;
	uint32_t counter, flags;
};
#define REGION_ATTACH_RETURN  1u /* runs when the function returns */
#define REGION_ATTACH_NO_FORK 2u /* pid filter: not in children that inherited the patch */
#define REGION_ATTACH_OFF     4u /* detached, and not yet gone from everywhere */

/** struct region_site - what runs at a probed instruction, in the code part; replaced as a whole
 *  once a stub points to it, but for REGION_ATTACH_OFF and @code, which the daemon sets in place */
struct region_site {
	uint32_t cnt;
	uint32_t returns; /* how many of them are REGION_ATTACH_RETURN */
	struct region_attach attach[];
};
#define REGION_UNWINDER (REGION_TEXT + offsetof(struct region_header, unwinder))
static_assert(sizeof(struct region_site) == sizeof(uint64_t), "struct region_header.unwinder");

/*
 * A stub, in an anonymous private R-X mapping within 2 GiB of the site that jumps to it:
 *
 *	[record]  site, ip, enter, semaphore as below
 *	code:	lea -0x80(%rsp), %rsp		48 8d 64 24 80		skip the red zone
 *		call *enter(%rip)		ff 15 rel32		rt_enter of the region
 *	back:	lea 0x80(%rsp), %rsp		48 8d a4 24 80 00 00 00
 *		displaced instructions, relocated
 *		jmp site + length of the displaced instructions
 *
 * rt_enter finds the record at a fixed distance below its return address (`back`), saves the
 * registers as struct pt_regs with ip = @ip and sp as before the stub, calls rt_hit(), restores
 * every register and the flags, and returns.
 *
 * Of a function that begins by asking whether its stack has room (Go's), the site jumps to a copy
 * of the question instead, from which it gets more and begins anew, or goes on to the code above;
 * behind `back` that jumps to what follows the question:
 *
 *	check:	the instructions in front of the function's conditional jump
 *		jbe where that leads
 *		jmp code
 */
#define REGION_STUB_CODE 32u			      /* record to code */
#define REGION_STUB_BACK (REGION_STUB_CODE + 5u + 6u) /* record to back */
#define REGION_STUB_SIZE 128u
/* From the code on: where the displaced instructions are. */
#define REGION_STUB_DISPLACED (5u + 6u + 8u)
/* From the record on: where the check is, if there is one. */
#define REGION_STUB_CHECK 96u
struct region_stub {
	uint64_t site;	    /* address of a struct region_site, or 0: run nothing; 8-byte aligned,
			       changed   by single stores while threads run */
	uint64_t ip;	    /* address of the probed instruction */
	uint64_t enter;	    /* address of rt_enter */
	uint64_t semaphore; /* address of the USDT semaphore that was raised with it, 0 for none */
	unsigned char code[REGION_STUB_SIZE - REGION_STUB_CODE];
};
static_assert(sizeof(struct region_stub) == REGION_STUB_SIZE, "stub");

/**
 * struct region_test_run - a program that is run because somebody asks for it (BPF_PROG_TEST_RUN),
 * by the thread that does, as its tracer has it; on the stack of the run
 * @frame: stack pointer for when it is over and the tracer is gone (shim/rescue.h), or 0
 * @code: of the program, offset from the region's base
 * @cpu: whose slot it is to own if that can be had, or REGION_TEST_RUN_ANY_CPU
 * @repeat: how often it runs, at least once
 * @error: 0 or -EBUSY: it did not run
 * @slot: that it owns, below REGION_SLOTS_MAX; written once it has one
 * @retval: what it returned last
 * @time: that all runs took (ns)
 * @regs: struct pt_regs of the thread where it asks
 * @ctx: the program's context, behind them (struct rt_run)
 */
#define REGION_TEST_RUN_ANY_CPU UINT32_MAX
#define REGION_TEST_RUN_CTX	192u /* bytes: struct __sk_buff is the largest */
struct region_test_run {
	uint64_t frame, code;
	uint32_t cpu, repeat;
	int32_t error;
	uint32_t slot;
	uint64_t retval, time;
	unsigned char regs[168], ctx[REGION_TEST_RUN_CTX];
};

/**
 * struct region_config - facts about this process; private, written at injection. The process can
 * change them and then only hurts itself.
 * @mapped: how much of the region is: what the daemon counts up when there comes to be more of it
 * @clock_gettime: address of the vDSO's function, or 0
 * @cgroup_id: bpf_get_current_cgroup_id()
 * @pid_ns_dev, @pid_ns_ino: of the pid namespace's file, the device as the kernel encodes it; 0
 *	unknown
 * @spilled: bit N: entries of bucket N of the shadow table may stand in later buckets
 * @steady: memory that the process keeps as long as it runs (shim/steady.h); only ever added to,
 *	@steady_cnt last
 * @arrays: what is mapped of REGION_ARRAYS, in pages from there; @pages 0: free
 */
#define REGION_STEADY_MAX 64u
#define REGION_MAPPED_MAX 128u
struct region_range {
	uint64_t start, end;
};
struct region_config {
	uint32_t version, mapped;
	uint64_t clock_gettime;
	uint64_t cgroup_id;
	uint64_t pid_ns_dev, pid_ns_ino;
	uint64_t spilled[16];
	uint64_t steady_cnt;
	struct region_range steady[REGION_STEADY_MAX];
	struct region_pages {
		uint32_t page, pages;
	} arrays[REGION_MAPPED_MAX];
};
static_assert(sizeof(struct region_config) <= REGION_CACHE - REGION_CONFIG, "a page");

/**
 * struct region_cache - zero after fork(), filled by the runtime but for @injected
 * @injected: 1 in the process that was injected
 * @owner: @pid and namespace as in struct region_slot.owner, 0 unknown
 * @stalls: hits in a row that waited for a slot in vain
 * @full: shadow table: hits to go before stale entries are looked for again
 * @lock_debt: time (monotonic, ns) until which waits for locks of maps are shortened
 * @lock_seen: a lock that did not move, and since when (runtime/lock.c)
 * @pid_ns_dev, @pid_ns_ino: as in struct region_config, found out by a process that was not
 * injected
 * @stacks: bit N: the N-th of the stacks at REGION_STACKS is in use
 * @waited: time (monotonic, ns) until which long waits are not repaid; @charged: until when they
 *were counted (runtime/patience.h)
 * @looked: when dead owners of slots were last looked for although nobody was worth waiting for
 *	(monotonic, ns)
 */
struct region_cache {
	uint64_t injected;
	uint64_t pid; /* own process id, 0 unknown */
	uint64_t owner;
	uint64_t stalls;
	uint64_t full;
	uint64_t randoms; /* bpf_get_prandom_u32() calls */
	uint64_t lock_debt, lock_seen;
	uint64_t pid_ns_dev, pid_ns_ino;
	uint32_t stacks, pad;
	uint64_t looked;
	uint64_t waited, charged;
};
#define REGION_STACK_SIZE (REGION_STACKS_SIZE / 32u)

/**
 * struct region_return - one pending return, in the bucket @slot hashes to
 * @slot: address of the stack slot that held the return address; 0 free; with bit 0 set free as
 *	well, and the last use was for that slot (runtime/shadow.c)
 * @address: what it held
 * @stub: address of the struct region_stub it was entered through
 * @sequence: orders entries that share a slot (tail calls)
 */
struct region_return {
	uint64_t slot, address, stub, sequence;
};
#define REGION_RETURNS	      (REGION_SHADOW_SIZE / sizeof(struct region_return))
#define REGION_RETURN_BUCKET  8u /* entries */
#define REGION_RETURN_BUCKETS 1024u
static_assert(REGION_RETURN_BUCKET * REGION_RETURN_BUCKETS == REGION_RETURNS, "shadow table");
static_assert(sizeof(((struct region_config *)0)->spilled) * 8 == REGION_RETURN_BUCKETS,
	      "a bit each");
