/* SPDX-License-Identifier: MIT */
/*
 * The programs that virtual machines are compared by, one source: vm_set.bpf.c compiles them for
 * eBPF, vm_set.c for this machine. All work on vm_in and vm_out. Loops have an end that the
 * kernel's verifier sees.
 */
#pragma once

#define VM_WORDS 256
#define VM_BYTES (VM_WORDS * 8)

typedef unsigned long long vm_u64;
typedef unsigned int vm_u32;
typedef unsigned char vm_u8;

/* Filled by whoever measures: any numbers; a text twice; what loops go up to. */
struct vm_input {
	vm_u64 words[VM_WORDS];
	vm_u8 text[2][1024];
	vm_u64 cnt;
};

#define VM_SET(X) X(log2_int) X(prime) X(memcpy) X(strcmp) X(switch) X(simple)

static inline vm_u64 vm_log2_int(const struct vm_input *in, vm_u64 *out)
{
	vm_u64 sum = 0;

	for (vm_u32 i = 0; i < VM_WORDS; i++) {
		vm_u32 x = (vm_u32)in->words[i], log = 0;

		for (vm_u32 k = 0; k < 32 && x > 1; k++) {
			x >>= 1;
			log++;
		}
		sum += log;
	}
	return sum;
}

static inline vm_u64 vm_prime(const struct vm_input *in, vm_u64 *out)
{
	vm_u64 primes = 0, cnt = in->cnt;

	for (vm_u32 n = 2; n < 600 && n < cnt; n++) {
		vm_u32 is_prime = 1;

		for (vm_u32 d = 2; d < 25; d++) {
			if (d * d > n)
				break;
			if (n % d == 0) {
				is_prime = 0;
				break;
			}
		}
		primes += is_prime;
	}
	return primes;
}

static inline vm_u64 vm_memcpy(const struct vm_input *in, vm_u64 *out)
{
	for (vm_u32 i = 0; i < VM_WORDS; i++)
		out[i] = in->words[i];
	return out[VM_WORDS - 1];
}

static inline vm_u64 vm_strcmp(const struct vm_input *in, vm_u64 *out)
{
	vm_u32 i;

	for (i = 0; i < 1024; i++) {
		vm_u8 a = in->text[0][i], b = in->text[1][i];

		if (a != b)
			return a < b ? (vm_u64)-1 : 1;
		if (!a)
			break;
	}
	return i;
}

static inline vm_u64 vm_switch(const struct vm_input *in, vm_u64 *out)
{
	vm_u64 sum = 1;

	for (vm_u32 i = 0; i < 1024; i++) {
		switch (in->text[0][i] & 31) {
		case 0:
			sum += 3;
			break;
		case 1:
			sum ^= 0x55;
			break;
		case 2:
			sum *= 5;
			break;
		case 3:
			sum -= i;
			break;
		case 4:
			sum |= 8;
			break;
		case 5:
			sum += sum >> 3;
			break;
		case 6:
			sum ^= sum << 2;
			break;
		case 7:
			sum &= ~1ull;
			break;
		case 8:
			sum += 17;
			break;
		case 9:
			sum *= 3;
			break;
		case 10:
			sum ^= i;
			break;
		case 11:
			sum -= 91;
			break;
		case 12:
			sum += i * 7;
			break;
		case 13:
			sum = ~sum;
			break;
		case 14:
			sum ^= sum >> 17;
			break;
		case 15:
			sum |= 1;
			break;
		case 16:
			sum += 1021;
			break;
		case 17:
			sum *= 9;
			break;
		case 18:
			sum ^= 0xff00;
			break;
		case 19:
			sum -= sum >> 5;
			break;
		default:
			sum++;
			break;
		}
	}
	return sum;
}

static inline vm_u64 vm_simple(const struct vm_input *in, vm_u64 *out)
{
	vm_u64 a = in->cnt, b = in->words[0];

	out[0] = a + b;
	return a * 3 + b;
}
