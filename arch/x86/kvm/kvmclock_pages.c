// SPDX-License-Identifier: GPL-2.0
/*
 * How guests get to see the KVM clock.  After a change, each vCPU writes two sets of pages on
 * its way into the guest: its own, for which it alone waits, and the boot vCPU's, which
 * guests read on all vCPUs.  If one of these is absent, nobody reads it without a page fault,
 * and who enters next tries again.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>

#include "kvmclock.h"
#include "trace.h"
#include "x86.h"
#include "xen.h"

/* One of a vCPU's pages, or rather the part of it that a line is in. */
enum kvmclock_page_kind {
	KVMCLOCK_PAGE_KVM,
	KVMCLOCK_PAGE_XEN_VCPU_INFO,
	KVMCLOCK_PAGE_XEN_TIME_INFO,
	KVMCLOCK_PAGE_HYPERV,
	KVMCLOCK_NR_PAGES
};

struct kvmclock_page {
	struct gfn_to_pfn_cache *gpc;	/* NULL if the guest has no such page */
	gpa_t gpa;			/* INVALID_GPA if it is wherever @gpc is */
	unsigned int offset;		/* of the line, behind that */
	unsigned int len;		/* from there to the line's end */
};

static gpa_t kvmclock_gpa(const struct kvm_vcpu_clock *vclock)
{
	u64 msr = READ_ONCE(vclock->system_time);
	gpa_t gpa = msr & ~1ULL;

	if (!(msr & KVM_MSR_ENABLED))
		return INVALID_GPA;

	/* The interface has no way to refuse it, but a line does not cross pages. */
	if (offset_in_page(gpa) + sizeof(struct pvclock_vcpu_time_info) > PAGE_SIZE)
		return INVALID_GPA;

	return gpa;
}

static struct kvmclock_page kvmclock_find_page(struct kvm_vcpu *vcpu, enum kvmclock_page_kind kind)
{
	struct kvmclock_page page = { .gpa = INVALID_GPA };
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	switch (kind) {
	case KVMCLOCK_PAGE_KVM:
		page.gpa = kvmclock_gpa(&vcpu->arch.clock);
		page.gpc = page.gpa == INVALID_GPA ? NULL : &vcpu->arch.clock.pv_time;
		break;
	case KVMCLOCK_PAGE_HYPERV:
		/* There is one for all vCPUs. */
		if (vcpu == READ_ONCE(clock->boot_vcpu))
			page.gpa = READ_ONCE(clock->hyperv.gpa);
		page.gpc = page.gpa == INVALID_GPA ? NULL : &clock->hyperv.cache;
		break;
#ifdef CONFIG_KVM_XEN
	case KVMCLOCK_PAGE_XEN_VCPU_INFO:
		page.gpc = &vcpu->arch.xen.vcpu_info_cache;
		page.offset = offsetof(struct compat_vcpu_info, time);
		break;
	case KVMCLOCK_PAGE_XEN_TIME_INFO:
		page.gpc = &vcpu->arch.xen.vcpu_time_info_cache;
		break;
#endif
	default:
		break;
	}

	/* Xen's code activates its caches, and requests an update of the vCPU after that. */
	if (page.gpc && page.gpa == INVALID_GPA && !data_race(page.gpc->active))
		page.gpc = NULL;
	page.len = page.offset + sizeof(struct pvclock_vcpu_time_info);
	return page;
}

static bool kvmclock_is_mapped(const struct kvmclock_page *page)
{
	return kvm_gpc_check(page->gpc, page->len) &&
	       (page->gpa == INVALID_GPA || page->gpc->gpa == page->gpa);
}

/* Have the page in its cache.  Fails with @wait only if nobody can write it. */
static int kvmclock_map_page(const struct kvmclock_page *page, bool wait)
{
	struct gfn_to_pfn_cache *gpc = page->gpc;

	if (page->gpa == INVALID_GPA)
		return wait ? kvm_gpc_refresh(gpc, page->len) :
			      kvm_gpc_refresh_nowait(gpc, page->len);

	return wait ? kvm_gpc_activate(gpc, page->gpa, page->len) :
		      kvm_gpc_activate_nowait(gpc, page->gpa, page->len);
}

/* Whether a page could not be mapped because none of @slots has it for the guest to write. */
static bool kvmclock_lacks_slot(const struct kvmclock_page *page, u64 slots)
{
	struct gfn_to_pfn_cache *gpc = page->gpc;

	guard(read_lock_irq)(&gpc->lock);

	return gpc->active && !kvm_is_error_gpa(gpc->gpa) && kvm_is_error_hva(gpc->uhva) &&
	       (page->gpa == INVALID_GPA || page->gpa == gpc->gpa) && gpc->generation == slots;
}

/* Another vCPU may read @page, even though its own is not running: the version is odd meanwhile. */
static void kvmclock_write_line(struct kvm_vcpu *vcpu, struct pvclock_vcpu_time_info *page,
				struct pvclock_vcpu_time_info *new)
{
	new->version = (page->version + 1) | 1;
	page->version = new->version;
	smp_wmb();	/* Pairs with virt_rmb() in pvclock_read_begin(). */

	/* PVCLOCK_GUEST_STOPPED is for the guest to clear. */
	new->flags |= page->flags & PVCLOCK_GUEST_STOPPED;
	memcpy(page, new, sizeof(*new));

	smp_wmb();	/* Pairs with virt_rmb() in pvclock_read_retry(). */
	page->version = ++new->version;

	trace_kvm_pvclock_update(vcpu->vcpu_id, new);
}

/* Write @vcpu's line to its @page, if it has one.  Only kvmclock knows PVCLOCK_GUEST_STOPPED. */
static bool kvmclock_write_vcpu_line(struct kvm_vcpu *vcpu, enum kvmclock_page_kind kind,
				     struct pvclock_vcpu_time_info *page)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct pvclock_vcpu_time_info line;

	if (!kvmclock_get_vcpu_line(vcpu, &line, NULL))
		return false;

#ifdef CONFIG_KVM_XEN
	/* Some guests break if they find it in Xen's clocks. */
	if (kind != KVMCLOCK_PAGE_KVM &&
	    vcpu->kvm->arch.xen.hvm_config.flags & KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE)
		line.flags &= ~PVCLOCK_TSC_STABLE_BIT;
#endif
	if (kind == KVMCLOCK_PAGE_KVM && unlikely(READ_ONCE(vclock->guest_stopped)) &&
	    xchg(&vclock->guest_stopped, false))
		line.flags |= PVCLOCK_GUEST_STOPPED;

	kvmclock_write_line(vcpu, page, &line);
	return true;
}

/*
 * Write one of @vcpu's pages without waiting for it.  Returns 1 if there is none of the @kind,
 * and if it is still to be written, -ENXIO if none of @slots has it, else -EAGAIN.
 */
static int kvmclock_write_page(struct kvm_vcpu *vcpu, enum kvmclock_page_kind kind, u64 slots)
{
	struct kvmclock_page page = kvmclock_find_page(vcpu, kind);
	struct gfn_to_pfn_cache *gpc = page.gpc;
	bool mapped;

	if (!gpc)
		return 1;

	read_lock_irq(&gpc->lock);
	mapped = kvmclock_is_mapped(&page);
	if (unlikely(!mapped)) {
		read_unlock_irq(&gpc->lock);
		if (kvmclock_map_page(&page, false))
			return kvmclock_lacks_slot(&page, slots) ? -ENXIO : -EAGAIN;
		read_lock_irq(&gpc->lock);
		mapped = kvmclock_is_mapped(&page);	/* it may be gone again */
	}
	if (mapped && (kind == KVMCLOCK_PAGE_HYPERV ?
		       kvmclock_write_hyperv_page(vcpu, page.gpa, gpc->khva) :
		       kvmclock_write_vcpu_line(vcpu, kind, gpc->khva + page.offset)))
		kvm_gpc_mark_dirty_in_slot(gpc);
	read_unlock_irq(&gpc->lock);
	return mapped ? 0 : -EAGAIN;
}

/*
 * Write those of @vcpu's pages that do not show the present line, or @all, without waiting
 * for them.  The generation is read first: what is written belongs to it, or is newer.
 */
static bool kvmclock_write_pages(struct kvm_vcpu *vcpu, bool all)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	u64 slots = kvm_memslots(vcpu->kvm)->generation, without_slot = slots;
	unsigned long every = BIT(KVMCLOCK_NR_PAGES) - 1, generation, todo;
	const struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	unsigned int kind;
	int r;

	guard(mutex)(&vclock->pages_lock);

	generation = READ_ONCE(clock->generation) & ~1UL;
	todo = vclock->unwritten;
	if (all || vclock->shown != generation)
		todo |= all || READ_ONCE(clock->hyperv.gpa) != INVALID_GPA ? every : vclock->kinds;
	for_each_set_bit(kind, &todo, KVMCLOCK_NR_PAGES) {
		r = kvmclock_write_page(vcpu, kind, slots);
		__assign_bit(kind, &vclock->kinds, r <= 0);
		if (r >= 0)
			__clear_bit(kind, &todo);
		else if (r != -ENXIO)
			without_slot = 0;
	}

	WRITE_ONCE(vclock->without_slot, without_slot);
	WRITE_ONCE(vclock->unwritten, todo);
	/* Pairs with smp_load_acquire() in kvmclock_pages_are_old(). */
	smp_store_release(&vclock->shown, generation);
	return !todo;
}

/*
 * The same on @vcpu's way into the guest, waiting for the pages that are absent, but once
 * only: the guest can read none that is taken away again without coming back here.
 */
static void kvmclock_write_own_pages(struct kvm_vcpu *vcpu, bool all)
{
	unsigned long absent;
	unsigned int kind;

	if (likely(kvmclock_write_pages(vcpu, all)))
		return;

	absent = READ_ONCE(vcpu->arch.clock.unwritten);
	for_each_set_bit(kind, &absent, KVMCLOCK_NR_PAGES) {
		struct kvmclock_page page = kvmclock_find_page(vcpu, kind);

		if (page.gpc)
			kvmclock_map_page(&page, true);
	}
	kvmclock_write_pages(vcpu, false);
}

/*
 * In host clock mode, draw @vcpu's line anew, on the CPU that it runs on, if @own asks for
 * that, or the clock was redrawn and lines do not go on.  Sets @own then.
 */
static int kvmclock_redraw_vcpu(struct kvm_vcpu *vcpu, bool *own)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvmclock_instant now;
	u32 khz;

	/* A clocksource may be slow, and the lock is every vCPU's. */
	guard(irqsave)();
	khz = kvmclock_host_khz();
	kvmclock_get_instant(CLOCK_REALTIME, &now);

	guard(raw_spinlock)(&clock->tsc_write_lock);
	if (clock->use_master_clock || list_empty(&vclock->node))
		return 0;

	if (!*own && (clock->lines_go_on || vclock->redraws == clock->redraws))
		return 0;

	if (unlikely(!khz))
		return -EAGAIN;

	kvmclock_catch_up(vcpu, &now);
	kvmclock_draw_vcpu(vcpu, now.tsc, kvmclock_boot_ns(&now) + clock->offset, khz);
	*own = true;
	return 0;
}

/*
 * Have @vcpu's pages and the boot vCPU's show the clock.  With @own, write its own in any
 * case, in host clock mode with a new line.  Fails if it may not enter the guest.
 */
static int kvmclock_update_pages(struct kvm_vcpu *vcpu, bool own)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvm_vcpu *boot_vcpu;
	unsigned long generation;
	int r;

	/* It looks at the generation after this: who sets the clock has made it odd before. */
	if (unlikely(!READ_ONCE(clock->guest_has_run)))
		WRITE_ONCE(clock->guest_has_run, true);

	kvmclock_update_for(vcpu);
	generation = READ_ONCE(clock->generation);
	if (unlikely(generation & 1)) {
		/* Who changes the clock may be of lower priority: sleep until it is done. */
		mutex_lock(&clock->update_lock);
		mutex_unlock(&clock->update_lock);
		return -EAGAIN;
	}

	r = READ_ONCE(clock->use_master_clock) ? 0 : kvmclock_redraw_vcpu(vcpu, &own);
	if (unlikely(r))
		return r;

	if (own || kvmclock_pages_are_old(vcpu, generation))
		kvmclock_write_own_pages(vcpu, own);
	boot_vcpu = READ_ONCE(clock->boot_vcpu);
	if (boot_vcpu && boot_vcpu != vcpu && kvmclock_pages_are_old(boot_vcpu, generation)) {
		/* It still waits for what is absent, and in host clock mode draws its own line. */
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, boot_vcpu);
		kvmclock_write_pages(boot_vcpu, false);
	}

	if (unlikely(vcpu->arch.clock.pending_wall_clock)) {
		kvm_write_wall_clock(vcpu->kvm, vcpu->arch.clock.pending_wall_clock, 0);
		vcpu->arch.clock.pending_wall_clock = 0;
	}

	/* What was written may belong to a later change than what was looked at. */
	return unlikely(READ_ONCE(clock->generation) != generation) ? -EAGAIN : 0;
}

/* Returns 1 if @vcpu may not enter the guest yet: the clock changes, or its CPU goes offline. */
int __kvmclock_handle_requests(struct kvm_vcpu *vcpu)
{
	bool all, own;

	/* In host clock mode, lines drift apart. */
	if (kvm_check_request(KVM_REQ_GLOBAL_CLOCK_UPDATE, vcpu))
		kvm_make_all_cpus_request(vcpu->kvm, KVM_REQ_CLOCK_UPDATE);

	all = kvm_check_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
	own = kvm_check_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	if (!all && !own)
		return 0;

	if (likely(!kvmclock_update_pages(vcpu, own)))
		return 0;

	/* Not a new line where none was asked for: that would make the clock step. */
	if (own)
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
	return 1;
}

/* The page is for @vcpu to write, on its way into the guest: see kvm_write_system_time(). */
void kvmclock_set_wall_clock(struct kvm_vcpu *vcpu, gpa_t wall_clock)
{
	WRITE_ONCE(vcpu->kvm->arch.clock.wall_clock, wall_clock);
	vcpu->arch.clock.pending_wall_clock = wall_clock;
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

/*
 * Have @vcpu's page where MSR @system_time says.  It is not looked for here: this may
 * be an ioctl, and the memory absent.  Nobody writes to the old place after this.
 */
static void kvmclock_move_page(struct kvm_vcpu *vcpu, u64 system_time)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;

	scoped_guard(mutex, &vclock->pages_lock) {
		WRITE_ONCE(vclock->system_time, system_time);
		WRITE_ONCE(vclock->unwritten, vclock->unwritten | BIT(KVMCLOCK_PAGE_KVM));
		WRITE_ONCE(vclock->without_slot, 0);
	}

	if (!(system_time & KVM_MSR_ENABLED))
		kvm_gpc_deactivate(&vclock->pv_time);
}

void kvm_write_system_time(struct kvm_vcpu *vcpu, gpa_t system_time,
			   bool old_msr, bool host_initiated)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	/* A guest with the old MSR does not know PVCLOCK_TSC_STABLE_BIT: keep redrawing lines. */
	if (!host_initiated && !vcpu->vcpu_id && clock->boot_vcpu_runs_old_kvmclock != old_msr) {
		scoped_guard(raw_spinlock_irqsave, &clock->tsc_write_lock)
			clock->boot_vcpu_runs_old_kvmclock = old_msr;
		kvmclock_update(vcpu->kvm, NULL);
	}

	kvmclock_move_page(vcpu, system_time);
	kvmclock_request_update(vcpu);
}

/* Tell the guest that it was stopped.  There is no way to without kvmclock. */
int kvm_set_guest_paused(struct kvm_vcpu *vcpu)
{
	if (kvmclock_gpa(&vcpu->arch.clock) == INVALID_GPA)
		return -EINVAL;

	WRITE_ONCE(vcpu->arch.clock.guest_stopped, true);
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	return 0;
}

void kvmclock_init_vcpu(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;

	INIT_LIST_HEAD(&vclock->node);
	mutex_init(&vclock->pages_lock);
	kvm_gpc_init(&vclock->pv_time, vcpu->kvm);
}

void kvmclock_reset(struct kvm_vcpu *vcpu)
{
	kvmclock_move_page(vcpu, 0);
	vcpu->arch.clock.pending_wall_clock = 0;
}

void kvmclock_destroy_vcpu(struct kvm_vcpu *vcpu)
{
	kvmclock_reset(vcpu);
	if (vcpu == vcpu->kvm->arch.clock.boot_vcpu)
		kvm_gpc_deactivate(&vcpu->kvm->arch.clock.hyperv.cache);
	kvmclock_leave(vcpu);
}
