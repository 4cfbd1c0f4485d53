/* SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause) */
/*
 * A host with KVM, simulated as far as the library can tell: TSC, wall time, a VM
 * with a clock, vCPUs with TSC offsets.  Time passes by a fixed number of cycles
 * at each call, so every run is the same.
 */
#ifndef KVMCLOCK_FAKE_KVM_H
#define KVMCLOCK_FAKE_KVM_H

#include "internal.h"

#define FAKE_VCPUS	4
#define FAKE_KVM_FD	100
#define FAKE_VM_FD	101
#define FAKE_VCPU_FD	200

struct fake_kvm {
	/* What it is; set by the test. */
	uint32_t khz;			/* of the host's TSC */
	uint32_t frac_bits;
	int adjust_clock;		/* KVM_CAP_ADJUST_CLOCK */
	bool clock_guest;		/* KVM_CAP_CLOCK_GUEST */
	int tai_offset;
	bool no_kvm;
	bool no_tsc_offset;
	bool no_tsc_control;
	bool no_master_clock;
	bool wrong_ratio;		/* scales otherwise than by the ratio of the frequencies */
	bool reference_tsc;		/* GUEST_TSC is of the reference TSC, not of vCPU 0's */
	uint32_t step;			/* cycles that a call takes */

	/* What is to go wrong. */
	int enable_cap_errno;
	int set_clock_errno;
	int set_guest_tsc_errno;	/* of KVM_SET_CLOCK with GUEST_TSC only */
	int set_offset_fails_at;	/* the n-th write, counted from 1; all after it work */
	int set_msr_errno;
	int set_line_errno;
	int ctrl_errno;
	int get_khz_errno;
	bool vcpu_runs;

	/* Its state. */
	uint64_t tsc;
	uint64_t wall_ns;		/* at TSC 0 */
	uint32_t vm_khz;
	uint32_t nr_vcpus;
	uint64_t offset[FAKE_VCPUS];
	uint64_t ref_offset;		/* of what a vCPU that is created now would have */
	uint64_t clock_ns;		/* at clock_tsc, of the scaled TSC */
	uint64_t clock_tsc;
	uint32_t opt_in;

	/* What it was asked. */
	int offset_writes;
	int msr_writes;
	int clock_writes;
	int line_writes;
	int told_at_once;		/* by KVM_SET_CLOCK */
	int told;			/* by KVM_KVMCLOCK_CTRL */
	int last_offset_vcpu;
	int waits;			/* ioctls of a vCPU while it runs */
};

extern struct fake_kvm *fake;

void fake_use(struct fake_kvm *host);
void fake_run(struct fake_kvm *host, uint64_t ns);
void fake_set_clock(struct fake_kvm *host, uint64_t ns);
uint64_t fake_clock(const struct fake_kvm *host);
uint64_t fake_tsc(const struct fake_kvm *host, uint32_t vcpu);
uint64_t fake_wall(const struct fake_kvm *host);

#endif /* KVMCLOCK_FAKE_KVM_H */
