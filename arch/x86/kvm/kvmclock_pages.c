// SPDX-License-Identifier: GPL-2.0
/*
 * How guests get to see the KVM clock: the pages of kvmclock, Xen and Hyper-V, the
 * wall clock, and the hypercall that pairs the host's clock with the TSC.
 *
 * After a change, the first vCPU on its way into the guest writes the pages of all
 * vCPUs, as far as that does not sleep; none enters the guest before.  A page that
 * is absent waits for the vCPU that it belongs to, which faults it in, or for any
 * that enters once the page is there.  So a vCPU waits for pages of its own only,
 * and no ioctl but KVM_RUN for any.
 *
 * A page that could not be written is not mapped into the guest while it shows an
 * old line: it is unmapped, and a vCPU that touches it has it written before KVM
 * maps it again, for all.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/highmem.h>
#include <linux/interval_tree.h>
#include <linux/kvm_host.h>
#include <linux/kvm_para.h>
#include <linux/ratelimit.h>

#include "hyperv.h"
#include "kvmclock.h"
#include "kvmclock_math.h"
#include "lapic.h"
#include "mmu.h"
#include "mmu/mmu_internal.h"
#include "trace.h"
#include "x86.h"
#include "xen.h"

/* How many absent pages a vCPU looks for at each entry into the guest, at most. */
#define KVMCLOCK_RETRIES	8

static_assert(KVMCLOCK_MAX_VCPUS == KVM_MAX_VCPUS);

/* One of a vCPU's pages, or rather the part of it that a line is in. */
enum kvmclock_page_kind {
	KVMCLOCK_PAGE_KVM,
	KVMCLOCK_PAGE_XEN_VCPU_INFO,
	KVMCLOCK_PAGE_XEN_TIME_INFO,
	KVMCLOCK_NR_CACHES,
	KVMCLOCK_PAGE_HYPERV = KVMCLOCK_NR_CACHES,	/* everybody's, and has no cache */
	KVMCLOCK_NR_PAGES
};

struct kvmclock_page {
	enum kvmclock_page_kind kind;
	struct gfn_to_pfn_cache *gpc;	/* may be for another place, yet or still */
	unsigned int offset;		/* behind what the cache begins with */
};

/* The part of a page that is mapped to be written, and what is to be done after. */
struct kvmclock_mapping {
	struct pvclock_vcpu_time_info *va;
	struct page *pinned;
	unsigned long mmu_seq;		/* from before it was found */
	struct kvm_memory_slot *slot;
	gfn_t gfn;
};

/* Where the guest has its kvmclock page, or INVALID_GPA. */
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

static struct kvmclock_page kvmclock_page(struct kvm_vcpu *vcpu, enum kvmclock_page_kind kind)
{
	switch (kind) {
#ifdef CONFIG_KVM_XEN
	case KVMCLOCK_PAGE_XEN_VCPU_INFO:
		return (struct kvmclock_page){ kind, &vcpu->arch.xen.vcpu_info_cache,
					       offsetof(struct compat_vcpu_info, time) };
	case KVMCLOCK_PAGE_XEN_TIME_INFO:
		return (struct kvmclock_page){ kind, &vcpu->arch.xen.vcpu_time_info_cache };
#endif
	case KVMCLOCK_PAGE_KVM:
		return (struct kvmclock_page){ kind, &vcpu->arch.clock.pv_time };
	default:
		return (struct kvmclock_page){ kind, NULL };
	}
}

/*
 * Whether the guest has the page.  kvmclock's cache is for the vCPU itself to
 * activate, because that faults the page in; until then, others go by the MSR.
 */
static bool kvmclock_has_page(struct kvm_vcpu *vcpu, const struct kvmclock_page *page)
{
	if (page->kind == KVMCLOCK_PAGE_KVM)
		return kvmclock_gpa(&vcpu->arch.clock) != INVALID_GPA;

	return page->gpc && page->gpc->active;
}

/* The page's address for user space, if it is not valid in its cache. */
static unsigned long kvmclock_hva(struct kvm_vcpu *vcpu, const struct kvmclock_page *page,
				  struct kvmclock_mapping *map)
{
	gpa_t gpa = page->kind == KVMCLOCK_PAGE_KVM ? kvmclock_gpa(&vcpu->arch.clock) :
						      page->gpc->gpa;
	unsigned long hva;

	/* Xen's may be given by that address. */
	if (kvm_is_error_gpa(gpa))
		return page->kind == KVMCLOCK_PAGE_KVM ? KVM_HVA_ERR_BAD : page->gpc->uhva;

	map->gfn = gpa_to_gfn(gpa);
	map->slot = gfn_to_memslot(vcpu->kvm, map->gfn);
	hva = kvmclock_slot_hva(map->slot, map->gfn);
	return kvm_is_error_hva(hva) ? hva : hva + offset_in_page(gpa);
}

/* The page of user space's memory that one of @vcpu's pages is in, or an error. */
static unsigned long kvmclock_page_hva(struct kvm_vcpu *vcpu, enum kvmclock_page_kind kind)
{
	struct kvmclock_page page = kvmclock_page(vcpu, kind);
	struct kvmclock_mapping map = {};
	unsigned long hva;

	if (kind == KVMCLOCK_PAGE_HYPERV)
		return kvmclock_hyperv_page_hva(vcpu);
	/* Who activates Xen's caches has them written after that, as below. */
	if (!page.gpc || !data_race(kvmclock_has_page(vcpu, &page)))
		return KVM_HVA_ERR_BAD;

	guard(read_lock_irqsave)(&page.gpc->lock);

	hva = kvmclock_hva(vcpu, &page, &map);
	return kvm_is_error_hva(hva) ? hva : (hva + page.offset) & PAGE_MASK;
}

/*
 * Find the memory of a page without sleeping: as mapped by its cache, or else in
 * the page tables.  The reference keeps memory found there from vanishing half way,
 * and with it an odd version behind, for which a guest's reader would spin.
 */
static bool kvmclock_map_page(struct kvm_vcpu *vcpu, const struct kvmclock_page *page,
			      struct kvmclock_mapping *map)
{
	struct gfn_to_pfn_cache *gpc = page->gpc;
	unsigned long hva;

	lockdep_assert_held(&gpc->lock);

	*map = (struct kvmclock_mapping){};
	if (kvm_gpc_check(gpc, page->offset + sizeof(*map->va)) &&
	    (page->kind != KVMCLOCK_PAGE_KVM || gpc->gpa == kvmclock_gpa(&vcpu->arch.clock))) {
		map->va = gpc->khva + page->offset;
		map->slot = gpc->memslot;
		map->gfn = gpa_to_gfn(gpc->gpa);
		return true;
	}

	/* It changes with mmu_lock held.  Whoever changes it later is found afterwards. */
	map->mmu_seq = data_race(READ_ONCE(vcpu->kvm->mmu_invalidate_seq));
	smp_rmb();	/* Pairs with the smp_wmb() in kvm_mmu_invalidate_end(). */

	hva = kvmclock_hva(vcpu, page, map);
	if (kvm_is_error_hva(hva))
		return false;

	hva += page->offset;
	if (get_user_pages_fast_only(hva & PAGE_MASK, 1, FOLL_WRITE, &map->pinned) != 1)
		return false;

	map->va = kmap_local_page(map->pinned) + offset_in_page(hva);
	return true;
}

/*
 * The line was written: whether the guest has it.  A fork may have shared the memory
 * since it was found in the page tables, and whoever writes to it after that goes on
 * with a copy, which may have half of the line.  A fork waits for the TLB of this CPU,
 * and so for interrupts, which are off here; but not where TLBs are flushed without.
 * KVM is told before the page tables change.
 */
static bool kvmclock_is_mapped_still(struct kvm *kvm, const struct kvmclock_mapping *map)
{
	if (!map->pinned)
		return true;

	/* Pairs with mmu_lock, which is taken for that: who copies it later has all of it. */
	smp_mb();
	if (map->slot)
		/* Without mmu_lock, this misses what began after it, which is no harm here. */
		return !data_race(mmu_invalidate_retry_gfn_unsafe(kvm, map->mmu_seq, map->gfn));

	/* So does this. */
	return !data_race(READ_ONCE(kvm->mmu_invalidate_in_progress) ||
			  READ_ONCE(kvm->mmu_invalidate_seq) != map->mmu_seq);
}

static void kvmclock_unmap_page(const struct kvmclock_mapping *map)
{
	if (map->pinned)
		kunmap_local(map->va);
}

/*
 * Write @new to the guest's @page.  Another vCPU may read it, even though its own is
 * not running: follow the protocol, by which the version is odd while the rest
 * changes.
 */
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

/*
 * Xen itself sets PVCLOCK_TSC_STABLE_BIT only if told to use the TSC, and some
 * guests break if they find it in Xen's clocks.
 */
static bool kvmclock_hides_stable_tsc(struct kvm *kvm, enum kvmclock_page_kind kind)
{
#ifdef CONFIG_KVM_XEN
	return kind != KVMCLOCK_PAGE_KVM &&
	       kvm->arch.xen.hvm_config.flags & KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE;
#else
	return false;
#endif
}

/*
 * Fetch @vcpu's line and write it to the memory of one of its pages.  Its own and
 * another vCPU may come here at a time.  Only kvmclock knows PVCLOCK_GUEST_STOPPED.
 * False if that has to be done again.
 */
static bool kvmclock_fill_page(struct kvm_vcpu *vcpu, enum kvmclock_page_kind kind,
			       const struct kvmclock_mapping *map)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	bool stopped = kind == KVMCLOCK_PAGE_KVM && vclock->guest_stopped;
	struct pvclock_vcpu_time_info line;

	lockdep_assert_held(&vclock->page_lock);

	if (!kvmclock_get_vcpu_line(vcpu, &line))
		return true;

	if (kvmclock_hides_stable_tsc(vcpu->kvm, kind))
		line.flags &= ~PVCLOCK_TSC_STABLE_BIT;
	if (stopped)
		line.flags |= PVCLOCK_GUEST_STOPPED;

	kvmclock_write_line(vcpu, map->va, &line);
	if (map->slot)
		mark_page_dirty_in_slot(vcpu->kvm, map->slot, map->gfn);
	if (unlikely(!kvmclock_is_mapped_still(vcpu->kvm, map)))
		return false;

	if (stopped)
		vclock->guest_stopped = false;
	return true;
}

/*
 * Write one of @vcpu's pages that have a cache, if the guest has it, without sleeping.
 * False if it could not be written.
 *
 * The cache's lock keeps Xen's page where it is, the page's lock kvmclock's: once
 * the guest has turned it off or moved it, nobody writes to the old place.
 */
static bool kvmclock_write_cached_page(struct kvm_vcpu *vcpu, const struct kvmclock_page *page)
{
	struct kvmclock_mapping map = {};
	bool written = true;

	scoped_guard(read_lock_irqsave, &page->gpc->lock) {
		guard(raw_spinlock)(&vcpu->arch.clock.page_lock);

		if (kvmclock_has_page(vcpu, page)) {
			written = kvmclock_map_page(vcpu, page, &map);
			if (written)
				written = kvmclock_fill_page(vcpu, page->kind, &map);
			kvmclock_unmap_page(&map);
		}
	}

	kvm_release_page_dirty(map.pinned);
	return written;
}

/* Whether others are to look for @vcpu's pages, which could not be written. */
static void kvmclock_set_stale(struct kvm_vcpu *vcpu, bool stale)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	lockdep_assert_held(&clock->tsc_write_lock);

	if (stale == test_bit(vcpu->vcpu_idx, clock->stale))
		return;

	assign_bit(vcpu->vcpu_idx, clock->stale, stale);
	WRITE_ONCE(clock->nr_stale, clock->nr_stale + (stale ? 1 : -1));
}

/* The first vCPU from @from on with pages that could not be written, or NULL. */
static struct kvm_vcpu *kvmclock_find_stale(struct kvm *kvm, unsigned int from)
{
	unsigned int nr = atomic_read(&kvm->online_vcpus), i;

	/* Who comes or goes meanwhile may be found or not. */
	i = data_race(find_next_bit(kvm->arch.clock.stale, nr, from));
	return i < nr ? kvm_get_vcpu(kvm, i) : NULL;
}

/*
 * Note that @vcpu's pages show @generation, or could not be written.  The former only
 * if nobody else has failed meanwhile, and there is no more to write by now.
 */
static void kvmclock_note_shown(struct kvm_vcpu *vcpu, unsigned long generation,
				unsigned int failures, bool written)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	vcpu->kvm->stat.clock_updates++;
	if (!written) {
		WRITE_ONCE(vclock->failures, vclock->failures + 1);
		kvmclock_set_stale(vcpu, true);
	} else if (generation == clock->generation && failures == vclock->failures) {
		WRITE_ONCE(vclock->shown, generation);
		if (unlikely(clock->nr_stale))
			kvmclock_set_stale(vcpu, false);
	}
}

/*
 * A parked vCPU has left its kernel for good: it waits for INIT or SIPI, or is
 * halted and cannot be interrupted.  What was its page may be used for something
 * else by now, e.g. by a kernel that was loaded by kexec.
 */
static bool kvmclock_is_parked(struct kvm_vcpu *vcpu)
{
	if (!lapic_in_kernel(vcpu))
		return false;

	/* It may change right now, but a vCPU that is to run writes its pages itself. */
	switch (data_race(vcpu->arch.mp_state)) {
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_AP_RESET_HOLD:
		return true;
	case KVM_MP_STATE_HALTED:
		/* So may this, but the guest does not turn it on again without running. */
		return !data_race(kvm_apic_sw_enabled(vcpu->arch.apic));
	default:
		return false;
	}
}

/* Write all of @vcpu's pages as far as that does not sleep, and note how that went. */
static bool kvmclock_write_pages(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	unsigned long generation = READ_ONCE(vcpu->kvm->arch.clock.generation);
	unsigned int failures = READ_ONCE(vclock->failures);
	enum kvmclock_page_kind kind;
	struct kvmclock_page page;
	bool written = true;

	/* What is read from here on is not older than that. */
	smp_rmb();

	for (kind = 0; kind < KVMCLOCK_NR_CACHES; kind++) {
		page = kvmclock_page(vcpu, kind);
		/* Who activates Xen's caches has them written after that.  Mostly nobody does. */
		if (page.gpc && (kind == KVMCLOCK_PAGE_KVM || data_race(page.gpc->active)))
			written &= kvmclock_write_cached_page(vcpu, &page);
	}
	written &= kvmclock_write_hyperv_page(vcpu);

	kvmclock_note_shown(vcpu, generation, failures, written);
	return written;
}

/* The same for another vCPU than the one that runs.  Hyper-V's page is everybody's. */
static bool kvmclock_write_others_pages(struct kvm_vcpu *vcpu)
{
	bool written;

	if (likely(!kvmclock_is_parked(vcpu)))
		return kvmclock_write_pages(vcpu);

	written = kvmclock_write_hyperv_page(vcpu);
	guard(raw_spinlock_irqsave)(&vcpu->kvm->arch.clock.tsc_write_lock);
	kvmclock_set_stale(vcpu, !written);
	return written;
}

/* Take user space's page at @hva out of the guest's mapping, for whoever maps it to look. */
static void kvmclock_unmap_hva(struct kvm *kvm, struct kvm_memslots *slots, unsigned long hva)
{
	struct kvm_memory_slot *slot;
	struct interval_tree_node *node;
	gfn_t gfn;

	for (node = interval_tree_iter_first(&slots->hva_tree, hva, hva + PAGE_SIZE - 1); node;
	     node = interval_tree_iter_next(node, hva, hva + PAGE_SIZE - 1)) {
		slot = container_of(node, struct kvm_memory_slot, hva_node[slots->node_idx]);
		gfn = hva_to_gfn_memslot(hva, slot);
		/* What the guest has there is not user space's page. */
		if (!kvm_mem_is_private(kvm, gfn))
			kvm_zap_gfn_range(kvm, gfn, gfn + 1);
	}
}

/*
 * @vcpu's pages show an old line, because they could not be written, and are noted
 * as stale.  The guest may have them mapped all the same, if only to read, or be
 * about to.  Unmap them: this also has page faults that are being handled start over,
 * so that each that maps a page from here on finds @vcpu in kvmclock_prepare_map().
 */
static void kvmclock_unmap_pages(struct kvm_vcpu *vcpu)
{
	struct kvm *kvm = vcpu->kvm;
	enum kvmclock_page_kind kind;
	unsigned long hva;
	int i;

	for (kind = 0; kind < KVMCLOCK_NR_PAGES; kind++) {
		hva = kvmclock_page_hva(vcpu, kind);
		if (kvm_is_error_hva(hva))
			continue;
		for (i = 0; i < kvm_arch_nr_memslot_as_ids(kvm); i++)
			kvmclock_unmap_hva(kvm, __kvm_memslots(kvm, i), hva);
	}
}

static bool kvmclock_is_cached(struct gfn_to_pfn_cache *gpc, gpa_t gpa)
{
	guard(read_lock_irq)(&gpc->lock);

	return kvm_gpc_check(gpc, sizeof(struct pvclock_vcpu_time_info)) && gpc->gpa == gpa;
}

/* Have kvmclock's page in its cache, from where it is written fastest.  Sleeps. */
static void kvmclock_cache_page(struct kvm_vcpu *vcpu)
{
	struct gfn_to_pfn_cache *gpc = &vcpu->arch.clock.pv_time;
	gpa_t gpa = kvmclock_gpa(&vcpu->arch.clock);

	if (gpa != INVALID_GPA && !kvmclock_is_cached(gpc, gpa))
		kvm_gpc_activate(gpc, gpa, sizeof(struct pvclock_vcpu_time_info));
}

/* Have one of @vcpu's pages in memory, on behalf of @vcpu itself.  Sleeps. */
static int kvmclock_fault_in_page(struct kvm_vcpu *vcpu, enum kvmclock_page_kind kind)
{
	struct kvmclock_page page = kvmclock_page(vcpu, kind);

	if (kind == KVMCLOCK_PAGE_HYPERV)
		return kvmclock_fault_in_hyperv_page(vcpu);
	if (!page.gpc || !kvmclock_has_page(vcpu, &page))
		return 0;

	return kvm_gpc_refresh(page.gpc, page.offset + sizeof(struct pvclock_vcpu_time_info));
}

static int kvmclock_fault_in_pages(struct kvm_vcpu *vcpu)
{
	enum kvmclock_page_kind kind;
	int r = 0;

	for (kind = 0; kind < KVMCLOCK_NR_PAGES; kind++)
		r = kvmclock_fault_in_page(vcpu, kind) ? : r;

	return r;
}

/*
 * Write all of @vcpu's pages, on its way into the guest.  Those that are absent are
 * faulted in; those that cannot be, e.g. because there is no memory slot, are left
 * to who enters once they are there.
 */
static void kvmclock_write_own_pages(struct kvm_vcpu *vcpu)
{
	kvmclock_cache_page(vcpu);

	while (!kvmclock_write_pages(vcpu)) {
		if (kvmclock_fault_in_pages(vcpu) || signal_pending(current)) {
			kvmclock_write_pages(vcpu);
			return;
		}
	}
}

/* Whether @vcpu has to leave to user space before it makes more pages dirty. */
static bool kvmclock_dirty_ring_is_full(struct kvm_vcpu *vcpu)
{
	return vcpu->kvm->dirty_ring_size &&
	       kvm_test_request(KVM_REQ_DIRTY_RING_SOFT_FULL, vcpu);
}

/*
 * Write the pages of the vCPUs that do not show @generation yet, on behalf of @vcpu.
 * Another vCPU goes on if this one has to leave.
 */
static int kvmclock_publish_locked(struct kvm_vcpu *vcpu, unsigned long generation)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvm_vcpu *other;

	lockdep_assert_held(&clock->publish_lock);

	if (clock->publishing != generation) {
		clock->publishing = generation;
		clock->next_vcpu = 0;
	}

	while (clock->next_vcpu < atomic_read(&vcpu->kvm->online_vcpus)) {
		if (kvmclock_dirty_ring_is_full(vcpu) || signal_pending(current))
			return -EAGAIN;

		other = kvm_get_vcpu(vcpu->kvm, clock->next_vcpu);
		if (other && READ_ONCE(other->arch.clock.shown) != generation &&
		    !kvmclock_write_others_pages(other))
			kvmclock_unmap_pages(other);
		clock->next_vcpu++;
		cond_resched();
	}

	/* Pairs with smp_load_acquire() in kvmclock_publish(). */
	smp_store_release(&clock->published, generation);
	return 0;
}

/*
 * Publish the present generation, unless that has been done, which is what all
 * vCPUs find but one.  Nobody sleeps on guest memory with publish_lock held.
 */
static int kvmclock_publish(struct kvm_vcpu *vcpu)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	unsigned long generation;
	int r = 0;

	/* Pairs with smp_store_release() in kvmclock_publish_locked(). */
	if (smp_load_acquire(&clock->published) == READ_ONCE(clock->generation))
		return 0;

	if (mutex_lock_interruptible(&clock->publish_lock))
		return -EINTR;

	generation = READ_ONCE(clock->generation);
	if (clock->published != generation)
		r = kvmclock_publish_locked(vcpu, generation);
	mutex_unlock(&clock->publish_lock);
	return r;
}

/* The next of the vCPUs with pages that could not be written, or NULL. */
static struct kvm_vcpu *kvmclock_next_stale(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct kvm_vcpu *vcpu;

	vcpu = kvmclock_find_stale(kvm, READ_ONCE(clock->next_stale)) ? :
	       kvmclock_find_stale(kvm, 0);
	/* Who comes here at the same time may find the same one. */
	if (vcpu)
		WRITE_ONCE(clock->next_stale, vcpu->vcpu_idx + 1);
	return vcpu;
}

/*
 * Write pages that were absent and may be there by now: the guest may be about to
 * read them, because this vCPU has just faulted one in.
 */
static void kvmclock_retry_pages(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu *first = NULL, *other;
	int i;

	for (i = 0; i < KVMCLOCK_RETRIES && !kvmclock_dirty_ring_is_full(vcpu); i++) {
		other = kvmclock_next_stale(vcpu->kvm);
		if (!other || other == first)
			return;
		if (!first)
			first = other;
		kvmclock_write_others_pages(other);
	}
}

/*
 * Have user space's page at @hva in memory for writing, because it is there for
 * reading only.  Sleeps.  False if it cannot be written at all.
 */
static bool kvmclock_fault_in_hva(unsigned long hva, int *ret)
{
	struct page *page;
	int r = get_user_pages_unlocked(hva, 1, &page, FOLL_WRITE | FOLL_INTERRUPTIBLE);

	if (r == 1)
		put_page(page);
	else if (r == -EINTR || r == -EAGAIN)
		*ret = RET_PF_RETRY;
	return r == 1;
}

/* Write one of @vcpu's pages, of any kind, that the guest was found to have. */
static bool kvmclock_write_page(struct kvm_vcpu *vcpu, enum kvmclock_page_kind kind)
{
	struct kvmclock_page page = kvmclock_page(vcpu, kind);

	if (kind == KVMCLOCK_PAGE_HYPERV)
		return kvmclock_write_hyperv_page(vcpu);

	return kvmclock_write_cached_page(vcpu, &page);
}

/*
 * Write one of @other's pages, which is at @hva, on behalf of @vcpu, which has just
 * faulted it in and is about to map it.  User space may have to drain @vcpu's dirty
 * ring first: that is seen to on the way into the guest, and by who prefaults and may
 * have drained it without entering the guest since.
 */
static int kvmclock_write_page_to_map(struct kvm_vcpu *vcpu, struct kvm_vcpu *other,
				      enum kvmclock_page_kind kind, unsigned long hva,
				      bool prefetch)
{
	int r = RET_PF_CONTINUE;

	if (kvmclock_dirty_ring_is_full(vcpu) && kvm_dirty_ring_check_request(vcpu))
		return prefetch ? -EAGAIN : RET_PF_RETRY;

	if (kvmclock_write_page(other, kind) || !kvmclock_fault_in_hva(hva, &r))
		return r;

	return kvmclock_write_page(other, kind) ? RET_PF_CONTINUE : RET_PF_RETRY;
}

/* Do not map @hva together with @stale_hva, where that is another page. */
static void kvmclock_limit_level(struct kvm_page_fault *fault, unsigned long hva,
				 unsigned long stale_hva)
{
	while (fault->max_level > PG_LEVEL_4K &&
	       !((hva ^ stale_hva) & KVM_HPAGE_MASK(fault->max_level)))
		fault->max_level--;
}

/* Look at all pages of @other for the one that is about to be mapped. */
static int kvmclock_prepare_others_map(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault,
				       unsigned long hva, struct kvm_vcpu *other)
{
	bool parked = kvmclock_is_parked(other);
	enum kvmclock_page_kind kind;
	unsigned long stale_hva;
	int r = RET_PF_CONTINUE;

	for (kind = 0; kind < KVMCLOCK_NR_PAGES && r == RET_PF_CONTINUE; kind++) {
		if (parked && kind != KVMCLOCK_PAGE_HYPERV)
			continue;
		stale_hva = kvmclock_page_hva(other, kind);
		if (kvm_is_error_hva(stale_hva))
			continue;
		if (stale_hva == hva)
			r = kvmclock_write_page_to_map(vcpu, other, kind, hva, fault->prefetch);
		else
			kvmclock_limit_level(fault, hva, stale_hva);
	}
	return r;
}

/*
 * KVM has faulted a page in for @vcpu, and is about to map it into the guest, where
 * all vCPUs can read it.  If it is one of those that could not be written, it shows
 * an old line: write it.  That wait is @vcpu's own, as is that for the page.
 *
 * If the line changes after this, all vCPUs leave the guest, and the pages are
 * written, or unmapped, before any enters it.  If the page vanishes after this, KVM
 * notices.  The vCPUs that are found here are taken off the list as they enter.
 */
int __kvmclock_prepare_map(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	unsigned long hva = __gfn_to_hva_memslot(fault->slot, fault->gfn);
	struct kvm_vcpu *other = NULL;
	int r = RET_PF_CONTINUE;

	if (fault->is_private)
		return RET_PF_CONTINUE;

	do {
		other = kvmclock_find_stale(vcpu->kvm, other ? other->vcpu_idx + 1 : 0);
		if (other)
			r = kvmclock_prepare_others_map(vcpu, fault, hva, other);
	} while (other && r == RET_PF_CONTINUE);

	return r;
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

/*
 * Whether @vcpu's line can be extended, because for the same frequency it shows
 * the host's clock, @point, still, and its anchor is not ahead of the vCPU's TSC.
 */
static bool kvmclock_vcpu_line_is_good(struct kvm_vcpu *vcpu, const struct kvmclock_point *point)
{
	const struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	u64 scaled_tsc = kvm_scale_tsc(point->tsc, vclock->ratio);
	struct pvclock_vcpu_time_info rate;
	s64 ahead_ns;

	if (!vclock->line.tsc_to_system_mul || vclock->ratio != vclock->tsc_ratio)
		return false;

	kvmclock_line_set_rate(&rate, kvmclock_guest_freq(point->khz, vclock->ratio));
	if (!kvmclock_same_rate(&rate, &vclock->line))
		return false;

	if (kvmclock_anchor_is_ahead(vclock->line.tsc_timestamp + vclock->tsc_offset,
				     scaled_tsc + vclock->tsc_offset))
		return false;

	ahead_ns = kvmclock_line_ns(&vclock->line, scaled_tsc) - point->ns;
	return abs(ahead_ns) <= kvmclock_rounding_ns(&vclock->line);
}

/*
 * In host clock mode, draw @vcpu's line anew, on the CPU that it runs on.  Fails if
 * the CPU's frequency is not known, because it goes offline or its TSC jumps.
 */
static int kvmclock_redraw_vcpu(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvmclock_instant now;
	struct kvmclock_point point;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	if (clock->use_master_clock || list_empty(&vclock->node))
		return 0;

	point.khz = kvmclock_host_khz();
	if (unlikely(!point.khz))
		return -EAGAIN;

	kvmclock_get_instant(CLOCK_REALTIME, &now);
	kvmclock_catch_up(vcpu, &now);

	/* The clock was redrawn: begin with a line from there. */
	if (vclock->redraws != clock->redraws)
		kvmclock_draw_vcpu(vcpu, &clock->point);

	point.tsc = now.tsc;
	point.ns = kvmclock_boot_ns(&now) + clock->offset;
	point.from = (struct kvmclock_track){};
	if (!now.tsc_based || !kvmclock_vcpu_line_is_good(vcpu, &point))
		kvmclock_draw_vcpu(vcpu, &point);
	return 0;
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

static void kvm_write_wall_clock(struct kvm *kvm, gpa_t wall_clock)
{
	struct pvclock_wall_clock wc;
	u64 sec;

	if (kvmclock_begin_wall_clock(kvm, wall_clock, &wc.version))
		return;

	sec = kvm_get_wall_clock_epoch(kvm);
	wc.nsec = do_div(sec, NSEC_PER_SEC);
	wc.sec = sec;	/* overflows in 2106 guest time */
	kvm_write_guest(kvm, wall_clock, &wc, sizeof(wc));

	wc.version++;
	kvm_write_guest(kvm, wall_clock, &wc.version, sizeof(wc.version));
}

/* The guest or user space has asked for the epoch to be written on this vCPU. */
static void kvmclock_write_pending_wall_clock(struct kvm_vcpu *vcpu)
{
	gpa_t gpa = vcpu->arch.clock.pending_wall_clock;

	if (likely(!gpa))
		return;

	vcpu->arch.clock.pending_wall_clock = 0;
	kvm_write_wall_clock(vcpu->kvm, gpa);
}

/* What was asked of @vcpu alone: a line on its CPU, and all of its own to be written. */
static int kvmclock_update_own(struct kvm_vcpu *vcpu)
{
	int r = kvmclock_redraw_vcpu(vcpu);

	if (unlikely(r))
		return r;

	kvmclock_write_own_pages(vcpu);
	kvmclock_write_pending_wall_clock(vcpu);
	return 0;
}

/*
 * Have the pages show the clock, and @vcpu's own for certain with @own, before it
 * enters the guest.  Fails if that has to wait for user space or a signal.
 *
 * The vCPU's own pages are faulted in once for each generation.  If that does not
 * help they are like those of others, and looked for at each entry.
 */
static int kvmclock_update_pages(struct kvm_vcpu *vcpu, bool own)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	unsigned long generation;
	int r;

	if (unlikely(READ_ONCE(clock->must_update) || kvmclock_line_is_ahead(vcpu)))
		kvmclock_update_for(vcpu);

	generation = READ_ONCE(clock->generation);
	r = own ? kvmclock_update_own(vcpu) : 0;
	if (!r)
		r = kvmclock_publish(vcpu);
	if (unlikely(r))
		return r;

	if (READ_ONCE(vclock->shown) != generation && vclock->faulted_in != generation && !own)
		kvmclock_write_own_pages(vcpu);
	vclock->faulted_in = generation;

	if (unlikely(READ_ONCE(clock->nr_stale)))
		kvmclock_retry_pages(vcpu);
	vclock->seen = READ_ONCE(clock->nr_stale) ? 0 : generation;
	return 0;
}

/*
 * Handle the clock's requests on the way into the guest.  Returns 1 if @vcpu may
 * not enter it yet, because a signal is pending, its dirty ring is full, or its CPU
 * goes offline.
 */
int __kvmclock_handle_requests(struct kvm_vcpu *vcpu)
{
	bool all, own;

	if (kvm_check_request(KVM_REQ_GLOBAL_CLOCK_UPDATE, vcpu))
		kvmclock_request_global_update(vcpu->kvm);

	all = kvm_check_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
	own = kvm_check_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	if (!all && !own)
		return 0;

	if (likely(!kvmclock_update_pages(vcpu, own)))
		return 0;

	if (all)
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
	if (own)
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
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
 * A boot vCPU that writes the old MSR runs a guest which does not know
 * PVCLOCK_TSC_STABLE_BIT, and depends on lines that are redrawn all the time.
 */
static void kvmclock_note_boot_vcpu_msr(struct kvm_vcpu *vcpu, bool old_msr)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	if (vcpu->vcpu_id || clock->boot_vcpu_runs_old_kvmclock == old_msr)
		return;

	scoped_guard(raw_spinlock_irqsave, &clock->tsc_write_lock)
		clock->boot_vcpu_runs_old_kvmclock = old_msr;
	kvmclock_update(vcpu->kvm);
}

/*
 * The page is not looked for here: this may be an ioctl, and the memory absent.
 * @vcpu does so on its way into the guest.
 */
void kvm_write_system_time(struct kvm_vcpu *vcpu, gpa_t system_time,
			   bool old_msr, bool host_initiated)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;

	if (!host_initiated)
		kvmclock_note_boot_vcpu_msr(vcpu, old_msr);

	scoped_guard(raw_spinlock_irqsave, &vclock->page_lock)
		WRITE_ONCE(vclock->system_time, system_time);

	if (!(system_time & KVM_MSR_ENABLED))
		kvm_gpc_deactivate(&vclock->pv_time);
	kvmclock_request_update(vcpu);
}

/* Tell the guest that it was stopped.  There is no way to without kvmclock. */
int kvm_set_guest_paused(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;

	if (kvmclock_gpa(vclock) == INVALID_GPA)
		return -EINVAL;

	scoped_guard(raw_spinlock_irqsave, &vclock->page_lock)
		vclock->guest_stopped = true;
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
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;

	INIT_LIST_HEAD(&vclock->node);
	raw_spin_lock_init(&vclock->page_lock);
	kvm_gpc_init(&vclock->pv_time, vcpu->kvm);
	vclock->tsc_resets = READ_ONCE(kvmclock_tsc_resets);
	vclock->tsc_adjusted = kvmclock_tsc_adjustment();
}

void kvmclock_reset(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;

	scoped_guard(raw_spinlock_irqsave, &vclock->page_lock)
		WRITE_ONCE(vclock->system_time, 0);
	vclock->pending_wall_clock = 0;
	kvm_gpc_deactivate(&vclock->pv_time);
}

void kvmclock_destroy_vcpu(struct kvm_vcpu *vcpu)
{
	kvmclock_reset(vcpu);
	kvmclock_leave(vcpu);
}
