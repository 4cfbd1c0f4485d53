// SPDX-License-Identifier: GPL-2.0
/*
 * How guests get to see the KVM clock: the pages of kvmclock, Xen and Hyper-V, the
 * wall clock, and the hypercall that pairs the host's clock with the TSC.
 *
 * After a change, the first vCPU on its way into the guest rewrites the pages of
 * all vCPUs; none enters the guest before.  No page is written by an ioctl, because
 * it may take user space to provide the memory.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/kvm_para.h>
#include <linux/ratelimit.h>

#include "hyperv.h"
#include "kvmclock.h"
#include "trace.h"
#include "x86.h"
#include "xen.h"

/*
 * Write @line to a page of the guest.  Another vCPU may read it, even though its
 * own is not running: follow the protocol, by which the version is odd while the
 * rest changes.
 */
static void kvmclock_write_page(struct kvm_vcpu *vcpu, const struct pvclock_vcpu_time_info *line,
				struct gfn_to_pfn_cache *gpc, unsigned int offset)
{
	struct pvclock_vcpu_time_info new = *line;
	struct pvclock_vcpu_time_info *page;
	unsigned long flags;

	if (!gpc->active)
		return;

	read_lock_irqsave(&gpc->lock, flags);
	while (!kvm_gpc_check(gpc, offset + sizeof(*page))) {
		read_unlock_irqrestore(&gpc->lock, flags);

		if (kvm_gpc_refresh(gpc, offset + sizeof(*page)))
			return;

		read_lock_irqsave(&gpc->lock, flags);
	}

	kvmclock_note_reading(vcpu->kvm);
	page = gpc->khva + offset;

	new.version = (page->version + 1) | 1;
	page->version = new.version;
	smp_wmb();	/* Pairs with virt_rmb() in pvclock_read_begin(). */

	/* PVCLOCK_GUEST_STOPPED is for the guest to clear. */
	new.flags |= page->flags & PVCLOCK_GUEST_STOPPED;
	memcpy(page, &new, sizeof(new));

	smp_wmb();	/* Pairs with virt_rmb() in pvclock_read_retry(). */
	page->version = ++new.version;

	kvm_gpc_mark_dirty_in_slot(gpc);
	read_unlock_irqrestore(&gpc->lock, flags);

	trace_kvm_pvclock_update(vcpu->vcpu_id, &new);
}

#ifdef CONFIG_KVM_XEN
/*
 * Xen itself sets PVCLOCK_TSC_STABLE_BIT only if told to use the TSC, and some
 * guests break if they find it in Xen's clocks.
 */
static void kvmclock_write_xen_pages(struct kvm_vcpu *vcpu, struct pvclock_vcpu_time_info *line)
{
	struct kvm_vcpu_xen *xen = &vcpu->arch.xen;

	if (vcpu->kvm->arch.xen.hvm_config.flags & KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE)
		line->flags &= ~PVCLOCK_TSC_STABLE_BIT;

	kvmclock_write_page(vcpu, line, &xen->vcpu_info_cache,
			    offsetof(struct compat_vcpu_info, time));
	kvmclock_write_page(vcpu, line, &xen->vcpu_time_info_cache, 0);
}
#else
static void kvmclock_write_xen_pages(struct kvm_vcpu *vcpu, struct pvclock_vcpu_time_info *line) {}
#endif

#ifdef CONFIG_KVM_HYPERV
static void kvmclock_write_hyperv_page(struct kvm *kvm, struct pvclock_vcpu_time_info *line)
{
	if (to_kvm_hv(kvm)->hv_tsc_page_status != HV_TSC_PAGE_UNSET)
		kvmclock_note_reading(kvm);

	kvm_hv_setup_tsc_page(kvm, line);
}
#else
static void kvmclock_write_hyperv_page(struct kvm *kvm, struct pvclock_vcpu_time_info *line) {}
#endif

/*
 * Get the line that @vcpu computes with: in terms of its own TSC.  Until @vcpu has
 * announced that its TSC offset is another, its line is not for the others, which
 * may be in the guest.
 */
static void kvmclock_get_vcpu_line(struct kvm_vcpu *vcpu, struct pvclock_vcpu_time_info *line)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	u64 offset = READ_ONCE(vcpu->arch.l1_tsc_offset);

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	*line = clock->use_master_clock ? clock->line : vcpu->arch.clock.line;
	line->tsc_timestamp += offset;
	line->flags = clock->tsc_stable && offset == clock->tsc_offset ?
		      PVCLOCK_TSC_STABLE_BIT : 0;
}

/* Write all of @vcpu's pages, and the VM's Hyper-V page if it waits for it. */
static void kvmclock_write_pages(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *clock = &vcpu->arch.clock;
	struct pvclock_vcpu_time_info line;

	lockdep_assert_held(&vcpu->kvm->arch.clock.publish_lock);

	kvmclock_get_vcpu_line(vcpu, &line);
	if (!line.tsc_to_system_mul)
		return;

	vcpu->kvm->stat.clock_updates++;

	/* Only kvmclock knows PVCLOCK_GUEST_STOPPED, and only if it is enabled. */
	if (clock->pv_time.active && xchg(&clock->guest_stopped, false))
		line.flags |= PVCLOCK_GUEST_STOPPED;
	kvmclock_write_page(vcpu, &line, &clock->pv_time, 0);
	line.flags &= ~PVCLOCK_GUEST_STOPPED;

	kvmclock_write_hyperv_page(vcpu->kvm, &line);
	kvmclock_write_xen_pages(vcpu, &line);
}

/*
 * Write the pages of all vCPUs, unless they show the current generation already.
 * What is written is read with publish_lock held, i.e. the last to write a page
 * writes the newest.
 */
static void kvmclock_publish(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	unsigned long generation = READ_ONCE(clock->generation);
	struct kvm_vcpu *vcpu;
	unsigned long i;

	lockdep_assert_held(&clock->publish_lock);

	if (clock->published == generation)
		return;

	kvm_for_each_vcpu(i, vcpu, kvm)
		kvmclock_write_pages(vcpu);
	clock->published = generation;
}

/*
 * In host clock mode, lines of vCPUs drift apart.  Do not let one of them go on
 * with a new line without the others: the worst case is bounded by the time that
 * a vCPU stays in the guest otherwise.
 */
static void kvmclock_request_global_update(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
		kvm_vcpu_kick(vcpu);
	}
}

/* Have @vcpu's pages written, in host clock mode with a new line. */
void kvmclock_request_update(struct kvm_vcpu *vcpu)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	if (!READ_ONCE(clock->use_master_clock) && __ratelimit(&clock->update_rs))
		kvm_make_request(KVM_REQ_GLOBAL_CLOCK_UPDATE, vcpu);
	else
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

/*
 * Write what has changed to the guest's pages, and @vcpu's own for certain if it
 * was asked for.  All of it must be done before @vcpu enters the guest.
 */
static int kvmclock_update_pages(struct kvm_vcpu *vcpu, bool own)
{
	int r = 0;

	lockdep_assert_held(&vcpu->kvm->arch.clock.publish_lock);

	if (own)
		r = kvmclock_redraw_vcpu(vcpu);

	kvmclock_publish(vcpu->kvm);
	if (own && !r)
		kvmclock_write_pages(vcpu);

	return r;
}

/*
 * Handle the clock's requests on the way into the guest.  Returns 1 if @vcpu may
 * not enter it yet, because a signal is pending or its CPU goes offline.
 */
int kvmclock_handle_requests(struct kvm_vcpu *vcpu)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	bool all, own;
	int r = -EINTR;

	if (kvm_check_request(KVM_REQ_GLOBAL_CLOCK_UPDATE, vcpu))
		kvmclock_request_global_update(vcpu->kvm);

	all = kvm_check_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
	if (all)
		kvmclock_update(vcpu->kvm);

	own = kvm_check_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	if (!all && !own)
		return 0;

	if (!mutex_lock_interruptible(&clock->publish_lock)) {
		r = kvmclock_update_pages(vcpu, own);
		mutex_unlock(&clock->publish_lock);
	}

	if (likely(!r))
		return 0;

	if (all)
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
	if (own)
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	return 1;
}

static int kvmclock_begin_wall_clock(struct kvm *kvm, gpa_t gpa, u32 *version)
{
	int r = kvm_read_guest(kvm, gpa, version, sizeof(*version));

	if (r)
		return r;

	/* Odd while it is written; what was there at first may be anything. */
	*version = (*version + 1) | 1;
	return kvm_write_guest(kvm, gpa, version, sizeof(*version));
}

/* Write the epoch to @wall_clock, and its upper half to @sec_hi_ofs if not 0. */
void kvm_write_wall_clock(struct kvm *kvm, gpa_t wall_clock, int sec_hi_ofs)
{
	struct pvclock_wall_clock wc;
	u64 sec;
	u32 hi;

	if (!wall_clock || kvmclock_begin_wall_clock(kvm, wall_clock, &wc.version))
		return;

	sec = kvm_get_wall_clock_epoch(kvm);
	wc.nsec = do_div(sec, NSEC_PER_SEC);
	wc.sec = sec;	/* overflows in 2106 guest time */
	kvm_write_guest(kvm, wall_clock, &wc, sizeof(wc));

	if (sec_hi_ofs) {
		hi = sec >> 32;
		kvm_write_guest(kvm, wall_clock + sec_hi_ofs, &hi, sizeof(hi));
	}

	wc.version++;
	kvm_write_guest(kvm, wall_clock, &wc.version, sizeof(wc.version));
}

/*
 * A boot vCPU that writes the old MSR runs a guest which does not know
 * PVCLOCK_TSC_STABLE_BIT, and depends on lines that are redrawn all the time.
 */
static void kvmclock_note_boot_vcpu_msr(struct kvm_vcpu *vcpu, bool old_msr)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	if (vcpu->vcpu_id || clock->boot_vcpu_runs_old_kvmclock == old_msr)
		return;

	WRITE_ONCE(clock->boot_vcpu_runs_old_kvmclock, old_msr);
	kvmclock_update(vcpu->kvm);
}

void kvm_write_system_time(struct kvm_vcpu *vcpu, gpa_t system_time,
			   bool old_msr, bool host_initiated)
{
	struct kvm_vcpu_clock *clock = &vcpu->arch.clock;

	if (!host_initiated)
		kvmclock_note_boot_vcpu_msr(vcpu, old_msr);

	clock->system_time = system_time;
	kvmclock_request_update(vcpu);

	if (system_time & KVM_MSR_ENABLED)
		kvm_gpc_activate(&clock->pv_time, system_time & ~1ULL,
				 sizeof(struct pvclock_vcpu_time_info));
	else
		kvm_gpc_deactivate(&clock->pv_time);
}

/* Tell the guest that it was stopped.  There is no way to without kvmclock. */
int kvm_set_guest_paused(struct kvm_vcpu *vcpu)
{
	if (!vcpu->arch.clock.pv_time.active)
		return -EINVAL;

	WRITE_ONCE(vcpu->arch.clock.guest_stopped, true);
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	return 0;
}

int kvm_pv_clock_pairing(struct kvm_vcpu *vcpu, gpa_t paddr, unsigned long clock_type)
{
	struct kvm_clock_pairing pairing = {};
	struct kvmclock_instant now;
	u32 nsec;

	if (clock_type != KVM_CLOCK_PAIRING_WALLCLOCK)
		return -KVM_EOPNOTSUPP;

	/* A TSC that is caught up with at each exit pairs with nothing. */
	if (vcpu->arch.tsc_always_catchup)
		return -KVM_EOPNOTSUPP;

	kvmclock_get_instant(CLOCK_REALTIME, &now);
	if (!now.tsc_based)
		return -KVM_EOPNOTSUPP;

	pairing.sec = div_u64_rem(now.sys_ns, NSEC_PER_SEC, &nsec);
	pairing.nsec = nsec;
	pairing.tsc = kvm_read_l1_tsc(vcpu, now.tsc);

	if (kvm_write_guest(vcpu->kvm, paddr, &pairing, sizeof(pairing)))
		return -KVM_EFAULT;

	return 0;
}

void kvmclock_init_vcpu(struct kvm_vcpu *vcpu)
{
	kvm_gpc_init(&vcpu->arch.clock.pv_time, vcpu->kvm);
}

void kvmclock_reset(struct kvm_vcpu *vcpu)
{
	kvm_gpc_deactivate(&vcpu->arch.clock.pv_time);
	vcpu->arch.clock.system_time = 0;
}
