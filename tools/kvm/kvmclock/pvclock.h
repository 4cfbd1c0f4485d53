/* SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause) */
/*
 * struct pvclock_vcpu_time_info, which the headers of a distribution may not have:
 * what the guest reads, and what KVM_SET_CLOCK_GUEST takes.
 */
#ifndef KVMCLOCK_PVCLOCK_H
#define KVMCLOCK_PVCLOCK_H

#include <assert.h>
#include <stdint.h>

struct kvmclock_pvclock {
	uint32_t version;
	uint32_t pad0;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags;
	uint8_t pad[2];
};

static_assert(sizeof(struct kvmclock_pvclock) == 32, "the ioctls' numbers encode the size");

#endif /* KVMCLOCK_PVCLOCK_H */
