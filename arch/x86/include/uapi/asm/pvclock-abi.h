/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What a host and its guests, of KVM or Xen, share about time.  Both sides are in
 * use everywhere: none of it can change.
 */
#ifndef _ASM_X86_PVCLOCK_ABI_H
#define _ASM_X86_PVCLOCK_ABI_H
#ifndef __ASSEMBLER__

#include <linux/types.h>

/*
 * The time of one vCPU, as a line that maps its TSC to nanoseconds:
 *
 *   ns = system_time +
 *	  (((tsc - tsc_timestamp) * 2^tsc_shift) * tsc_to_system_mul) / 2^32
 *
 * In the guest's memory, @version is odd while the host writes the rest, and
 * another one afterwards, so that a reader knows when to read again.
 */
struct pvclock_vcpu_time_info {
	__u32	version;
	__u32	pad0;
	__u64	tsc_timestamp;		/* cycles */
	__u64	system_time;		/* ns */
	__u32	tsc_to_system_mul;
	__s8	tsc_shift;
	__u8	flags;			/* PVCLOCK_* */
	__u8	pad[2];
} __attribute__((__packed__));

/* The wall clock time at which @system_time was 0; @version as above. */
struct pvclock_wall_clock {
	__u32	version;
	__u32	sec;
	__u32	nsec;
} __attribute__((__packed__));

/* The lines of all vCPUs agree: one vCPU may read that of another. */
#define PVCLOCK_TSC_STABLE_BIT		0x01
/* The guest was stopped by its host, which its watchdogs are to forgive. */
#define PVCLOCK_GUEST_STOPPED		0x02
/* Taken once, for something that did not work out. */
#define PVCLOCK_COUNTS_FROM_ZERO	0x04

#endif /* __ASSEMBLER__ */
#endif /* _ASM_X86_PVCLOCK_ABI_H */
