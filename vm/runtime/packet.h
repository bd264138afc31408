/* SPDX-License-Identifier: MIT */
/*
 * Loads from packets, for compiled code.
 */
#pragma once

#include <stdint.h>

struct __sk_buff;

/**
 * rt_packet_load() - BPF_LD | BPF_ABS or BPF_IND
 * @skb: as notifier/test_run_packet.c makes it: field sk is the address of the Ethernet header
 * @size: 1, 2 or 4 bytes, in network order
 *
 * Return: the number, or -EFAULT: the program ends with 0.
 */
int64_t rt_packet_load(const struct __sk_buff *skb, int32_t offset, uint32_t size);
