/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The built-in guest: its memory, which it shares with the tool and which travels
 * from host to host.
 *
 *	0x01000		page tables: one 2 MB page, addresses are physical
 *	0x08000		code
 *	0x10000		struct guest_shared
 *	0x20000		struct guest_vcpu, a page each
 *	0x80000		stacks, a page each
 */
#ifndef KVMCLOCK_GUEST_H
#define KVMCLOCK_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "pvclock.h"

#define GUEST_PAGE	0x1000
#define GUEST_TABLES	0x1000
#define GUEST_CODE	0x8000
#define GUEST_SHARED	0x10000
#define GUEST_VCPUS	0x20000
#define GUEST_STACKS	0x80000
#define GUEST_MEMORY	0x100000
#define GUEST_MAX_VCPUS	64

/* A reading, with the line that it was computed with. */
struct guest_reading {
	uint64_t tsc;
	uint64_t clock;
	struct kvmclock_pvclock line;
};

struct guest_shared {
	uint64_t max_clock;	/* the greatest that any vCPU has read */
};

/*
 * The guest can be stopped anywhere.  So it writes the reading n into last[n % 2]
 * and then n into readings, and first.tsc after the rest of first.
 */
struct guest_vcpu {
	struct kvmclock_pvclock pvclock;
	uint8_t pad[32];
	struct guest_reading first;	/* since the tool set first.tsc to 0 */
	uint64_t skip;			/* readings that are not to be the first */
	struct guest_reading last[2];
	uint64_t readings;
	uint64_t clock_back;		/* readings below max_clock */
	uint64_t clock_back_max;	/* by how many ns at most */
	uint64_t tsc_back;		/* readings below this vCPU's last */
	uint64_t tsc_back_max;		/* by how many cycles at most */
	uint64_t anchor_ahead;		/* readings whose line begins at a greater TSC */
	uint64_t write_tsc;		/* what to write to the TSC at first, or 0 */
};

/* Whether the shift is one that KVM writes; memory that comes from elsewhere may have any. */
static inline bool guest_line_valid(const struct kvmclock_pvclock *line)
{
	return line->shift >= -31 && line->shift <= 31;
}

/* What guests compute, in the guest and in the tool.  @line is valid. */
static inline uint64_t guest_clock(const struct kvmclock_pvclock *line, uint64_t tsc)
{
	uint64_t delta = tsc - line->tsc_timestamp;

	if (line->shift < 0)
		delta >>= -line->shift;
	else
		delta <<= line->shift;

	return line->system_time + (uint64_t)((__uint128_t)delta * line->mul >> 32);
}

/* The section that holds guest_main() alone; it can run at any address. */
extern const uint8_t __start_guest_code[], __stop_guest_code[];
void guest_main(struct guest_vcpu *vcpu, struct guest_shared *shared);

#endif /* KVMCLOCK_GUEST_H */
