/* SPDX-License-Identifier: MIT */
/*
 * A ring buffer of the kernel, and its reader, as a tool has them.
 */
#pragma once

#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bpf_abi.h"
#include "base/sys.h"

#define READER_PAGE 4096u

/**
 * struct ring_reader
 * @consumer: position, writable
 * @producer: position; the data follow on the next page, twice
 * @copy: of the record that was read last: what is read may be overwritten at once
 */
struct ring_reader {
	int fd;
	uint32_t size;
	uint64_t *consumer;
	const uint64_t *producer;
	unsigned char *copy;
};

static inline void reader_check(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

static inline struct ring_reader reader_open(uint32_t size)
{
	struct abi_map_create attr = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = size};
	struct ring_reader reader = {.fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr)),
				     .size = size};

	reader_check(reader.fd >= 0, "a ring buffer");
	reader.consumer = mmap(NULL, READER_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reader.fd, 0);
	reader_check(reader.consumer != MAP_FAILED, "mmap of the consumer's page");
	reader.producer = mmap(NULL, READER_PAGE + 2 * (size_t)size, PROT_READ, MAP_SHARED,
			       reader.fd, READER_PAGE);
	reader_check(reader.producer != MAP_FAILED, "mmap of the ring");
	reader.copy = malloc(size);
	reader_check(reader.copy != NULL, "malloc");
	return reader;
}

static inline void reader_close(struct ring_reader *reader)
{
	munmap(reader->consumer, READER_PAGE);
	munmap((void *)reader->producer, READER_PAGE + 2 * (size_t)reader->size);
	close(reader->fd);
	free(reader->copy);
}

/* The next record, valid until the one after it is asked for. NULL: none. */
static inline const unsigned char *reader_next(struct ring_reader *reader, uint32_t *ret_size)
{
	const unsigned char *data = (const unsigned char *)reader->producer + READER_PAGE;

	for (;;) {
		uint64_t at = *reader->consumer;
		const unsigned char *record = data + (at & (reader->size - 1));
		uint32_t len;

		if (at == __atomic_load_n(reader->producer, __ATOMIC_ACQUIRE))
			return NULL;
		len = __atomic_load_n((const uint32_t *)(const void *)record, __ATOMIC_ACQUIRE);
		if (len & BPF_RINGBUF_BUSY_BIT)
			return NULL;
		*ret_size = len & ~(uint32_t)BPF_RINGBUF_DISCARD_BIT;
		memcpy(reader->copy, record + BPF_RINGBUF_HDR_SZ, *ret_size);
		__atomic_store_n(reader->consumer,
				 at + ((*ret_size + BPF_RINGBUF_HDR_SZ + 7ull) & ~7ull),
				 __ATOMIC_RELEASE);
		if (!(len & BPF_RINGBUF_DISCARD_BIT))
			return reader->copy;
	}
}
