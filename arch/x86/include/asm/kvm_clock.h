/* SPDX-License-Identifier: GPL-2.0 */
/*
 * State of the KVM clock, embedded in struct kvm_arch and struct kvm_vcpu_arch.
 * The code is in arch/x86/kvm/kvmclock*.c.
 */
#ifndef _ASM_X86_KVM_CLOCK_H
#define _ASM_X86_KVM_CLOCK_H

#include <linux/kvm_types.h>
#include <linux/mutex.h>
#include <linux/ratelimit_types.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <asm/pvclock-abi.h>

struct kvm_clock {
	/*
	 * Serializes changes of the clock from before vCPUs are kicked until
	 * they may enter the guest again.  Nothing that is done with it held
	 * touches guest memory, which may have to wait for user space.
	 */
	struct mutex update_lock;

	/*
	 * Serializes writing to the guest's pages, and protects @published.
	 * vCPUs take it on their way into the guest, and may sleep on guest
	 * memory with it held.
	 */
	struct mutex publish_lock;
	unsigned long published;	/* the generation that all pages show */

	/*
	 * Protects everything below.  @sc is for reading the clock's value:
	 * @use_master_clock, @line, @ratio and @offset.
	 */
	raw_spinlock_t tsc_write_lock;
	seqcount_raw_spinlock_t sc;

	/*
	 * Master clock: one line for the VM, in the domain of the scaled TSC,
	 * i.e. of the host TSC after scaling by @ratio and before any vCPU's
	 * offset is added.  @khz is the host's frequency that it was drawn for.
	 */
	bool use_master_clock;
	bool tsc_stable;	/* the vCPUs' TSC offsets are equal, too: */
	u64 tsc_offset;
	u32 khz;
	u64 ratio;
	struct pvclock_vcpu_time_info line;

	/* Host clock: CLOCK_MONOTONIC_RAW + boot offset + @offset. */
	s64 offset;

	u32 enabled;		/* KVM_CLOCK_* flags that user space opted in to */
	bool guest_has_read;	/* what MONOTONIC does not go below exists */

	unsigned long generation;	/* counts changes that all pages must show */
	struct ratelimit_state update_rs;

	/* Both rule out the master clock, the first one for good. */
	bool backwards_tsc_observed;
	bool boot_vcpu_runs_old_kvmclock;

	bool tsc_protected;	/* a vCPU's TSC cannot be moved by KVM */

	gpa_t wall_clock;

	/* The last TSC write, of which later ones are matched. */
	u64 last_tsc_nsec;
	u64 last_tsc_write;
	u64 last_tsc_offset;
	u32 last_tsc_khz;
	bool user_set_tsc;

	/*
	 * The first write of the current generation of matching TSCs, 0 if there
	 * was none.  Its TSC is the reference TSC: vCPUs that are created join it.
	 */
	u64 cur_tsc_nsec;
	u64 cur_tsc_write;
	u64 cur_tsc_offset;
	u64 cur_tsc_generation;
	int nr_vcpus_matched_tsc;
};

struct kvm_vcpu_clock {
	u64 system_time;	/* MSR_KVM_SYSTEM_TIME{,_NEW} */
	struct gfn_to_pfn_cache pv_time;
	bool guest_stopped;	/* PVCLOCK_GUEST_STOPPED is to be set */

	/*
	 * Host clock: the vCPU's own line, like the VM's in the domain of the
	 * TSC scaled by @ratio.  Protected by the VM's tsc_write_lock.
	 */
	u64 ratio;
	struct pvclock_vcpu_time_info line;

	u64 last_guest_tsc;
	u64 last_host_tsc;
	u64 tsc_offset_adjustment;

	/* The generation of matching TSCs that the vCPU belongs to. */
	bool tsc_synchronized;
	u64 this_tsc_nsec;
	u64 this_tsc_write;
	u64 this_tsc_generation;
};

#endif /* _ASM_X86_KVM_CLOCK_H */
