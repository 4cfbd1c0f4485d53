/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kvmclock_math.h in user space, after what it wants there: the kernel's types, and
 * the structure of <asm/pvclock-abi.h>.
 */
#ifndef LAB_TESTS_PVCLOCK_H
#define LAB_TESTS_PVCLOCK_H

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

#include "kvmclock_math.h"
#endif
