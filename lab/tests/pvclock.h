/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kvmclock_math.h in user space, of 64 bits, after what it takes from the kernel: types,
 * three functions, and the structure of <asm/pvclock-abi.h>.
 */
#ifndef LAB_TESTS_PVCLOCK_H
#define LAB_TESTS_PVCLOCK_H

#include <stdbool.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;

struct pvclock_vcpu_time_info {
	u32 version;
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 tsc_to_system_mul;
	s8 tsc_shift;
	u8 flags;
	u8 pad[2];
};

#ifndef U64_MAX
#define U64_MAX		(~0ULL)
#endif

static inline int fls64(u64 x)
{
	return x ? 64 - __builtin_clzll(x) : 0;
}

static inline u64 mul_u64_u64_shr(u64 a, u64 b, unsigned int shift)
{
	return (unsigned __int128)a * b >> shift;
}

static inline u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)
{
	return (unsigned __int128)a * b / c;
}

#include "kvmclock_math.h"
#endif
