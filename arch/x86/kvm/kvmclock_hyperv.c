// SPDX-License-Identifier: GPL-2.0
/*
 * Hyper-V's reference TSC page: the KVM clock in units of 100 ns.
 *
 * There is one page for all vCPUs, so that it is valid only while all TSCs are
 * equal.  It is one of the pages of the vCPU on which it was enabled: that one
 * faults it in, and others write it where that is possible without.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>

#include "hyperv.h"
#include "kvmclock.h"
#include "kvmclock_math.h"

/* A guest takes 0 for invalid, and some take this one for it, too. */
#define KVMCLOCK_HV_INVALID_TOO	0xffffffff

/* What is written of the page; the rest of it is the guest's. */
#define KVMCLOCK_HV_PAGE_BYTES	offsetofend(struct ms_hyperv_tsc_page, tsc_offset)

/*
 * Have @page give for each TSC what @line does, in units of 100 ns:
 *
 *   kvmclock:	ns = system_time + (tsc - tsc_timestamp) * mul * 2^(shift - 32)
 *   Hyper-V:	ns / 100 = tsc * scale / 2^64 + offset
 *
 * so that
 *
 *   scale  = mul * 2^(shift + 32) / 100
 *   offset = system_time / 100 - tsc_timestamp * scale / 2^64
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
 * Whether the guest is to go on with what it has: it has asked for its TSC to be
 * emulated after a migration, and expects the page not to change before it has told
 * that it is done.  User space is to keep frequency and TSC then.
 */
static bool kvmclock_keep_hyperv_page(struct kvm *kvm, const struct ms_hyperv_tsc_page *old)
{
	struct kvmclock_hyperv_page *hyperv = &kvm->arch.clock.hyperv;
	bool keep = old->tsc_sequence && !hyperv->by_guest &&
		    READ_ONCE(to_kvm_hv(kvm)->hv_tsc_emulation_control);

	hyperv->kept_scale = old->tsc_scale;
	hyperv->kept_offset = old->tsc_offset;
	WRITE_ONCE(hyperv->is_kept, keep);
	return keep;
}

/*
 * The page has had sequence @old, perhaps on another host.  Where it was invalid
 * there, nothing tells what it had before; for that, the first one is random.
 */
static void kvmclock_note_hyperv_sequence(struct kvmclock_hyperv_page *hyperv, u32 old)
{
	if (old && (s32)(old - hyperv->sequence) > 0)
		hyperv->sequence = old;
}

/*
 * The next sequence with which the page is valid.  It is none that the page has
 * had with other contents, or a vCPU that was descheduled while it read the page
 * could mix the two.
 */
static u32 kvmclock_next_hyperv_sequence(struct kvmclock_hyperv_page *hyperv)
{
	while (!++hyperv->sequence || hyperv->sequence == KVMCLOCK_HV_INVALID_TOO)
		;
	return hyperv->sequence;
}

/* If that fails half way, the page is invalid. */
static int kvmclock_put_hyperv_page(const struct ms_hyperv_tsc_page *page,
				    struct ms_hyperv_tsc_page __user *to)
{
	u32 __user *sequence = (u32 __user *)&to->tsc_sequence;
	struct ms_hyperv_tsc_page body = *page;

	if (__put_user(0, sequence))
		return -EFAULT;
	if (!page->tsc_sequence)
		return 0;
	smp_wmb();	/* Who reads the new values finds that the sequence is another. */

	body.tsc_sequence = 0;
	if (__copy_to_user(to, &body, KVMCLOCK_HV_PAGE_BYTES))
		return -EFAULT;
	smp_wmb();	/* Who finds the new sequence reads the new values. */

	return __put_user(page->tsc_sequence, sequence);
}

/*
 * Write the page for @line.  Page faults are disabled, and the slot stays what it is:
 * the vCPU has kvm->srcu.
 */
static int kvmclock_update_hyperv_page(struct kvm *kvm, const struct pvclock_vcpu_time_info *line)
{
	struct kvmclock_hyperv_page *hyperv = &kvm->arch.clock.hyperv;
	gfn_t gfn = gpa_to_gfn(hyperv->gpa);
	struct kvm_memory_slot *slot = gfn_to_memslot(kvm, gfn);
	unsigned long hva = kvmclock_slot_hva(slot, gfn);
	struct ms_hyperv_tsc_page __user *page = (void __user *)hva;
	struct ms_hyperv_tsc_page new, old;
	bool valid;
	int r = 0;

	lockdep_assert_held(&hyperv->lock);

	if (kvm_is_error_hva(hva) || __copy_from_user(&old, page, KVMCLOCK_HV_PAGE_BYTES))
		return -EFAULT;

	if (kvmclock_keep_hyperv_page(kvm, &old))
		return 0;

	kvmclock_note_hyperv_sequence(hyperv, old.tsc_sequence);
	new = old;
	valid = kvmclock_compute_hyperv_page(line, &new);
	if (!valid)
		new.tsc_sequence = 0;
	else if (!old.tsc_sequence || old.tsc_scale != new.tsc_scale ||
		 old.tsc_offset != new.tsc_offset)
		new.tsc_sequence = kvmclock_next_hyperv_sequence(hyperv);

	if (new.tsc_sequence != old.tsc_sequence) {
		r = kvmclock_put_hyperv_page(&new, page);
		/* Some of it may have been written, even if that failed. */
		mark_page_dirty_in_slot(kvm, slot, gfn);
	}
	if (valid && !r)
		hyperv->by_guest = false;
	return r;
}

/*
 * Write the page if it is one of @vcpu's, which others may do as well, but only as
 * far as that does not sleep.  False if it could not be written.  The line is
 * fetched with the page's lock held, so that the last to write it writes the newest.
 */
bool kvmclock_write_hyperv_page(struct kvm_vcpu *vcpu)
{
	struct kvmclock_hyperv_page *hyperv = &vcpu->kvm->arch.clock.hyperv;
	struct pvclock_vcpu_time_info line;
	int r = 0;

	if (likely(READ_ONCE(hyperv->owner) != vcpu))
		return true;

	guard(raw_spinlock_irqsave)(&hyperv->lock);

	if (hyperv->owner != vcpu)
		return true;

	pagefault_disable();
	if (kvmclock_get_vcpu_line(vcpu, &line))
		r = kvmclock_update_hyperv_page(vcpu->kvm, &line);
	pagefault_enable();

	return !r;
}

/* Where the page is in user space's memory, or an error; false if it is none of @vcpu's. */
static bool kvmclock_find_hyperv_page(struct kvm_vcpu *vcpu, unsigned long *hva)
{
	struct kvmclock_hyperv_page *hyperv = &vcpu->kvm->arch.clock.hyperv;
	gfn_t gfn;

	if (likely(READ_ONCE(hyperv->owner) != vcpu))
		return false;

	guard(raw_spinlock_irqsave)(&hyperv->lock);

	gfn = gpa_to_gfn(hyperv->gpa);
	*hva = kvmclock_slot_hva(gfn_to_memslot(vcpu->kvm, gfn), gfn);
	return hyperv->owner == vcpu;
}

unsigned long kvmclock_hyperv_page_hva(struct kvm_vcpu *vcpu)
{
	unsigned long hva;

	return kvmclock_find_hyperv_page(vcpu, &hva) ? hva : KVM_HVA_ERR_BAD;
}

/* Have the page in memory, if it is one of @vcpu's.  Sleeps. */
int kvmclock_fault_in_hyperv_page(struct kvm_vcpu *vcpu)
{
	unsigned long hva;

	if (!kvmclock_find_hyperv_page(vcpu, &hva))
		return 0;

	if (kvm_is_error_hva(hva))
		return -EFAULT;

	return fault_in_safe_writeable((char __user *)hva, sizeof(u32)) ? -EFAULT : 0;
}

/* HV_X64_MSR_REFERENCE_TSC is written on @vcpu, whose page it is from now on. */
void kvmclock_set_hyperv_page(struct kvm_vcpu *vcpu, u64 msr, bool host_initiated)
{
	struct kvmclock_hyperv_page *hyperv = &vcpu->kvm->arch.clock.hyperv;

	guard(raw_spinlock_irqsave)(&hyperv->lock);

	hyperv->gpa = gfn_to_gpa(msr >> HV_X64_MSR_TSC_REFERENCE_ADDRESS_SHIFT);
	hyperv->by_guest = !host_initiated;
	WRITE_ONCE(hyperv->owner, msr & HV_X64_MSR_TSC_REFERENCE_ENABLE ? vcpu : NULL);
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

/* The counter as the guest computes it from a page that it was left with. */
static bool kvmclock_count_by_kept_page(struct kvm *kvm, u64 *count)
{
	struct kvmclock_hyperv_page *hyperv = &kvm->arch.clock.hyperv;

	guard(raw_spinlock_irqsave)(&hyperv->lock);

	*count = mul_u64_u64_shr(kvmclock_guest_tsc(kvm), hyperv->kept_scale, 64) +
		 hyperv->kept_offset;
	return hyperv->owner && hyperv->is_kept;
}

/*
 * Hyper-V's reference counter, an MSR: the clock, whether the page is valid or not,
 * unless the guest goes on with a page that is not what the clock would have it.
 */
u64 get_time_ref_counter(struct kvm *kvm)
{
	u64 count;

	if (unlikely(READ_ONCE(kvm->arch.clock.hyperv.is_kept)) &&
	    kvmclock_count_by_kept_page(kvm, &count))
		return count;

	return div_u64(get_kvmclock_ns(kvm), 100);
}
