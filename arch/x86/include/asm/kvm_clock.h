/* SPDX-License-Identifier: GPL-2.0 */
/* State of the KVM clock, in struct kvm_arch and struct kvm_vcpu_arch. */
#ifndef _ASM_X86_KVM_CLOCK_H
#define _ASM_X86_KVM_CLOCK_H

#include <linux/kvm_types.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/ratelimit_types.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <asm/pvclock-abi.h>

/* The reference TSC page of Hyper-V, one for all vCPUs, and among the boot vCPU's pages. */
struct kvmclock_hyperv_page {
	struct gfn_to_pfn_cache cache;
	raw_spinlock_t lock;	/* protects what follows, and writing the page */
	gpa_t gpa;		/* INVALID_GPA if the guest has none */
	u32 sequence;		/* the last one that was valid */
	bool by_guest;		/* enabled by the guest, and not written since */
	bool is_kept;		/* the guest goes on with what it has in there: */
	u64 kept_scale;
	s64 kept_offset;
};

struct kvm_clock {
	/* Held while the clock is changed.  Nobody waits for guest memory with it held. */
	struct mutex update_lock;

	/* For what is below, unless another lock is named; never for longer with many vCPUs. */
	raw_spinlock_t tsc_write_lock;
	seqcount_raw_spinlock_t sc;	/* for reading the clock's value */

	/*
	 * Master clock: one line for the VM, in the domain of the host TSC scaled by @ratio,
	 * without any vCPU's offset.  @khz is the host's frequency that it was drawn for.
	 */
	bool use_master_clock;
	u32 khz;
	u64 ratio;
	struct pvclock_vcpu_time_info line;

	/* Host clock: boot time + @offset.  @line is where it was redrawn, without a rate. */
	s64 offset;
	unsigned long redraws;
	bool lines_go_on;	/* from there, until vCPUs are asked for new ones */

	u32 enabled;		/* KVM_CLOCK_* flags that user space opted in to */
	bool guest_has_run;	/* what MONOTONIC does not go below exists */
	struct ratelimit_state update_rs;

	/*
	 * What the mode and PVCLOCK_TSC_STABLE_BIT depend on.  @vcpus are those that have a
	 * TSC, and the steps say how many differ from the one before them in the list.
	 */
	struct list_head vcpus;
	unsigned int nr_vcpus;
	unsigned int nr_offset_steps;
	unsigned int nr_ratio_steps;
	unsigned int nr_catching_up;
	bool tsc_protected;	/* a vCPU's TSC cannot be moved by KVM */
	bool boot_vcpu_runs_old_kvmclock;
	u64 tsc_before_reset;	/* the last host TSC, if the line is from before a reset; else 0 */
	bool must_update;	/* a note for GET, SET and vCPUs on their way into the guest */

	/* Counts changes that pages must show, in twos; while it is odd, nobody enters. */
	unsigned long generation;
	struct kvm_vcpu *boot_vcpu;	/* once it has a TSC; all vCPUs write its pages */

	struct kvmclock_hyperv_page hyperv;

	gpa_t wall_clock;

	/* The instant at which the VM was created, and the clock and the TSCs read 0. */
	u64 origin_tsc;		/* host TSC */
	u64 origin_ns;		/* of the host since boot */

	u64 boot_tsc_offset;	/* the boot vCPU's, of whose TSC GET and SET speak */
};

/* Protected by the VM's tsc_write_lock, unless something else is said. */
struct kvm_vcpu_clock {
	struct list_head node;	/* in the VM's list of vCPUs that have a TSC */

	/* The vCPU's TSC, for others to look at. */
	u64 tsc_offset;
	u64 tsc_ratio;
	u32 tsc_khz;		/* what the guest was told */
	bool catching_up;
	bool at_origin;		/* it has counted since the VM was created, and was not written */

	/* Host clock: the vCPU's own line, like the VM's, drawn for the VM's @redraws. */
	u64 ratio;
	struct pvclock_vcpu_time_info line;
	unsigned long redraws;

	/*
	 * The vCPU's pages show generation @shown of the clock, but for the kinds @unwritten.
	 * @pages_lock is held while they are written, by whomever; nobody waits with it held.
	 */
	struct mutex pages_lock;
	unsigned long shown;
	unsigned long unwritten;
	unsigned long kinds;	/* that there were when all were looked for, but for Hyper-V's */
	u64 without_slot;	/* memory slots, by generation, in which @unwritten are not */
	u64 system_time;	/* MSR_KVM_SYSTEM_TIME{,_NEW} */
	bool guest_stopped;	/* PVCLOCK_GUEST_STOPPED is to be set; needs no lock */
	struct gfn_to_pfn_cache pv_time;
	gpa_t pending_wall_clock;	/* for the vCPU itself to write */
};

#endif /* _ASM_X86_KVM_CLOCK_H */
