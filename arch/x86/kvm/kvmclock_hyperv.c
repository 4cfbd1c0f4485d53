// SPDX-License-Identifier: GPL-2.0
/*
 * Hyper-V's reference TSC page: the KVM clock in units of 100 ns.  There is one for all
 * vCPUs, so that it is valid only while all TSCs are equal.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>

#include "hyperv.h"
#include "kvmclock.h"
#include "x86.h"

/* A guest takes 0 for invalid, and some take this one for it, too. */
#define KVMCLOCK_HV_INVALID_TOO	0xffffffff

/*
 * Have @page give for each TSC what @line does:
 *
 *   ns / 100 = tsc * scale / 2^64 + offset
 *
 * Fails where the page cannot be valid: TSCs differ, or the scale does not fit.
 */
static bool kvmclock_compute_hyperv_page(const struct pvclock_vcpu_time_info *line,
					 struct ms_hyperv_tsc_page *page)
{
	if (!(line->flags & PVCLOCK_TSC_STABLE_BIT))
		return false;

	if (line->tsc_to_system_mul >= 100ULL << (32 - line->tsc_shift))
		return false;

	page->tsc_scale = mul_u64_u32_div(1ULL << (32 + line->tsc_shift),
					  line->tsc_to_system_mul, 100);
	page->tsc_offset = div_u64(line->system_time, 100) -
			   mul_u64_u64_shr(line->tsc_timestamp, page->tsc_scale, 64);
	return true;
}

/*
 * Whether the guest is to go on with what it has: it has asked for its TSC to be emulated
 * after a migration, and has not told yet that it is done.
 */
static bool kvmclock_keep_hyperv_page(struct kvm *kvm, const struct ms_hyperv_tsc_page *page)
{
	struct kvmclock_hyperv_page *hyperv = &kvm->arch.clock.hyperv;
	bool keep = page->tsc_sequence && !hyperv->by_guest &&
		    READ_ONCE(to_kvm_hv(kvm)->hv_tsc_emulation_control);

	hyperv->kept_scale = page->tsc_scale;
	hyperv->kept_offset = page->tsc_offset;
	WRITE_ONCE(hyperv->is_kept, keep);
	return keep;
}

/*
 * Continue from the page's sequence @old, which may be another host's, or 0: a vCPU that was
 * descheduled may mix contents that had the same sequence.
 */
static u32 kvmclock_next_hyperv_sequence(struct kvmclock_hyperv_page *hyperv, u32 old)
{
	if (old && (s32)(old - hyperv->sequence) > 0)
		hyperv->sequence = old;

	while (!++hyperv->sequence || hyperv->sequence == KVMCLOCK_HV_INVALID_TOO)
		;
	return hyperv->sequence;
}

/* Write @new to the guest's @page, with a sequence of 0 while the rest changes. */
static void kvmclock_put_hyperv_page(const struct ms_hyperv_tsc_page *new,
				     struct ms_hyperv_tsc_page *page)
{
	page->tsc_sequence = 0;
	smp_wmb();	/* Who reads the new values finds that the sequence is another. */
	page->tsc_scale = new->tsc_scale;
	page->tsc_offset = new->tsc_offset;
	smp_wmb();	/* Who finds the new sequence reads the new values. */
	page->tsc_sequence = new->tsc_sequence;
}

/* Write the boot vCPU's @page if it is at @gpa still, and shows something else. */
bool kvmclock_write_hyperv_page(struct kvm_vcpu *vcpu, gpa_t gpa, struct ms_hyperv_tsc_page *page)
{
	struct kvmclock_hyperv_page *hyperv = &vcpu->kvm->arch.clock.hyperv;
	struct ms_hyperv_tsc_page new = *page;
	struct pvclock_vcpu_time_info line;

	/* The last to write the page has fetched the newest line. */
	guard(raw_spinlock_irqsave)(&hyperv->lock);

	if (hyperv->gpa != gpa || kvmclock_keep_hyperv_page(vcpu->kvm, page) ||
	    !kvmclock_get_vcpu_line(vcpu, &line, NULL))
		return false;

	if (!kvmclock_compute_hyperv_page(&line, &new)) {
		new.tsc_sequence = 0;
	} else {
		if (!page->tsc_sequence || new.tsc_scale != page->tsc_scale ||
		    new.tsc_offset != page->tsc_offset)
			new.tsc_sequence = kvmclock_next_hyperv_sequence(hyperv,
									 page->tsc_sequence);
		hyperv->by_guest = false;
	}

	if (new.tsc_sequence == page->tsc_sequence)
		return false;

	kvmclock_put_hyperv_page(&new, page);
	return true;
}

/* HV_X64_MSR_REFERENCE_TSC is written.  The page is left to who enters the guest next. */
void kvmclock_set_hyperv_page(struct kvm_vcpu *vcpu, u64 msr, bool host_initiated)
{
	struct kvmclock_hyperv_page *hyperv = &vcpu->kvm->arch.clock.hyperv;
	gpa_t gpa = gfn_to_gpa(msr >> HV_X64_MSR_TSC_REFERENCE_ADDRESS_SHIFT);

	scoped_guard(raw_spinlock_irqsave, &hyperv->lock) {
		WRITE_ONCE(hyperv->gpa, msr & HV_X64_MSR_TSC_REFERENCE_ENABLE ? gpa : INVALID_GPA);
		hyperv->by_guest = !host_initiated;
		WRITE_ONCE(hyperv->is_kept, false);
	}
	scoped_guard(raw_spinlock_irqsave, &vcpu->kvm->arch.clock.tsc_write_lock)
		kvmclock_publish(&vcpu->kvm->arch.clock);
}

/* Hyper-V's reference counter: the clock, unless the guest goes on with a page that was kept. */
u64 get_time_ref_counter(struct kvm *kvm)
{
	struct kvmclock_hyperv_page *hyperv = &kvm->arch.clock.hyperv;

	if (likely(!READ_ONCE(hyperv->is_kept)))
		return div_u64(get_kvmclock_ns(kvm), 100);

	guard(raw_spinlock_irqsave)(&hyperv->lock);

	return mul_u64_u64_shr(kvm_read_l1_tsc(kvm->arch.clock.boot_vcpu, rdtsc()),
			       hyperv->kept_scale, 64) + hyperv->kept_offset;
}
