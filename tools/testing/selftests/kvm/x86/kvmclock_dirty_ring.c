// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that no page that the clock changes is lost to user space that tracks
 * dirty pages by rings.
 *
 * A ring belongs to a vCPU, and is the smallest that KVM takes.  There are more
 * pages than that, one or three for each vCPU: a vCPU that writes the pages of
 * all may not write more than its ring has room for.  It leaves to user space
 * then, and goes on once the ring was drained; or another vCPU does.
 *
 * Who writes which page when is up to KVM.  But after all vCPUs have run, and
 * after all rings were drained, each page that is not what it was is to have been
 * reported, and all show the clock as it is.
 */
#include <asm/barrier.h>
#include <sys/mman.h>

#include "kvmclock.h"

/*
 * More than the 256 entries of the smallest ring.  With Xen's, there are three pages
 * for each: more than 1024, the smallest ring where KVM reserves 512 entries.
 */
#define NR_VCPUS	350

#define STEP_NS		(100 * NSEC_PER_SEC)

static struct kvmclock_vm kc;
static int nr_pages;
static struct pvclock_vcpu_time_info before[3 * NR_VCPUS];
static bool reported[3 * NR_VCPUS];
static int nr_full;

/* struct vcpu_info's member time. */
#define XEN_INFO_TIME	32

/* Pages of all vCPUs' kvmclock, of all vcpu_time_info, of all vcpu_info. */
static struct pvclock_vcpu_time_info *page_time(int page)
{
	return kvmclock_page_hva(&kc, page) + (page / NR_VCPUS == 2 ? XEN_INFO_TIME : 0);
}

static void enable_xen(void)
{
	static const u16 types[] = {
		KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO,
	};
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
		.msr = 0x40000200,
	};
	struct kvm_xen_vcpu_attr attr = {};
	int i, t;

	nr_pages = ARRAY_SIZE(before);
	vm_ioctl(kc.vm, KVM_XEN_HVM_CONFIG, &config);
	for (t = 0; t < ARRAY_SIZE(types); t++) {
		attr.type = types[t];
		for (i = 0; i < NR_VCPUS; i++) {
			attr.u.gpa = kvmclock_page_gpa((t + 1) * NR_VCPUS + i);
			vcpu_ioctl(kc.vcpu[i], KVM_XEN_VCPU_SET_ATTR, &attr);
		}
	}
}

/* The smallest number of entries depends on what KVM reserves for the processor. */
static void enable_ring(void)
{
	u32 size = PAGE_SIZE;

	while (__vm_enable_cap(kc.vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, size)) {
		TEST_ASSERT(errno == EINVAL && size < 64 * PAGE_SIZE, "no ring of %u bytes", size);
		size *= 2;
	}
	kc.vm->dirty_ring_size = size;
}

/* Dirty pages are logged from when all is set up. */
static void create_vm(void)
{
	int i;

	kvmclock_vm_init(&kc, 0, NR_VCPUS);
	enable_ring();
	nr_pages = NR_VCPUS;
	kvmclock_add_pages(&kc, ARRAY_SIZE(before));
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_vcpu_add(&kc);
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_enable_page(&kc, i, i);
	kvmclock_settle(&kc);
	vm_mem_region_set_flags(kc.vm, KVMCLOCK_PAGES_SLOT, KVM_MEM_LOG_DIRTY_PAGES);
}

/* ---- The rings ---- */

static bool drain_one(struct kvm_vcpu *vcpu)
{
	struct kvm_dirty_gfn *ring = vcpu_map_dirty_ring(vcpu);
	struct kvm_dirty_gfn *entry = &ring[vcpu->fetch_index % vcpu->dirty_gfns_count];

	/* Pairs with smp_wmb() in kvm_dirty_ring_push(). */
	if (smp_load_acquire(&entry->flags) != KVM_DIRTY_GFN_F_DIRTY)
		return false;

	TEST_ASSERT(entry->slot == KVMCLOCK_PAGES_SLOT && entry->offset < nr_pages,
		    "slot %u, page %llu", entry->slot, entry->offset);
	reported[entry->offset] = true;
	/* Pairs with smp_load_acquire() in kvm_dirty_gfn_harvested(). */
	smp_store_release(&entry->flags, KVM_DIRTY_GFN_F_RESET);
	vcpu->fetch_index++;
	return true;
}

/* Drain the rings of @nr vCPUs from @first on; return how many entries there were. */
static int drain(int first, int nr)
{
	int i, entries = 0, reset;

	for (i = first; i < first + nr; i++)
		while (drain_one(kc.vcpu[i]))
			entries++;
	reset = kvm_vm_reset_dirty_ring(kc.vm);
	TEST_ASSERT(entries == reset, "%d entries, %d reset", entries, reset);
	return entries;
}

/* False if the vCPU has to be drained before it can go on. */
static bool run(int i)
{
	vcpu_run(kc.vcpu[i]);
	if (kc.vcpu[i]->run->exit_reason == KVM_EXIT_DIRTY_RING_FULL) {
		nr_full++;
		return false;
	}
	kvmclock_check_exit(kc.vcpu[i]);
	return true;
}

static bool run_drained(int i)
{
	while (!run(i))
		if (!check(drain(i, 1), "vCPU %d: the ring is full of nothing", i))
			return false;
	return true;
}

static bool run_all_drained(void)
{
	bool ok = true;
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		ok &= run_drained(i);
	return ok;
}

/* ---- Cases ---- */

static bool begin(void)
{
	bool ok;
	int page;

	if (!kc.vm)
		create_vm();
	ok = run_all_drained();
	drain(0, NR_VCPUS);
	memset(reported, 0, sizeof(reported));
	nr_full = 0;
	for (page = 0; page < nr_pages; page++)
		before[page] = *page_time(page);
	return ok;
}

static void step(void)
{
	kvmclock_set(&kc, kvmclock_get(&kc).clock + STEP_NS, 0, 0);
}

static int count_old_pages(void)
{
	int page, nr = 0;

	for (page = 0; page < nr_pages; page++)
		nr += labs(kvmclock_page_error(&kc, page % NR_VCPUS, page_time(page))) > 1;
	return nr;
}

static int count_lost_pages(void)
{
	int page, nr = 0;

	for (page = 0; page < nr_pages; page++)
		nr += !reported[page] && memcmp(&before[page], page_time(page), sizeof(*before));
	return nr;
}

/* Judge what @what did to pages and rings. */
static bool end(const char *what)
{
	int lost, old;
	char key[64];
	bool ok;

	drain(0, NR_VCPUS);
	lost = count_lost_pages();
	old = count_old_pages();
	snprintf(key, sizeof(key), "dirty_ring.%s.lost", what);
	kvmclock_measure(key, lost, "pages");
	snprintf(key, sizeof(key), "dirty_ring.%s.full", what);
	kvmclock_measure(key, nr_full, "exits");

	ok = check(!lost, "%d of %d dirty pages are not in a ring", lost, nr_pages);
	ok &= check(!old, "%d of %d pages show an old line", old, nr_pages);
	/* What was written past the end of a ring is also the next case's. */
	if (!ok)
		kvmclock_vm_destroy(&kc);
	return ok;
}

static bool test_set_clock(void)
{
	bool ok = begin();

	step();
	ok &= run_all_drained();
	return end("set_clock") & ok;
}

/* The vCPU that was the first to go on has written what all others read by then. */
static bool test_first_writes_all(void)
{
	int old;
	bool ok = begin();

	step();
	ok &= run_drained(0);
	old = count_old_pages();
	ok &= check(!old, "%d of %d pages show an old line", old, nr_pages);
	ok &= run_all_drained();
	return end("first_writes_all") & ok;
}

/* Who is full stays out of the guest for a while, and the others go on without it. */
static bool test_others_take_over(void)
{
	bool ok = begin();
	int i;

	step();
	for (i = 0; i < NR_VCPUS; i++)
		run(i);
	drain(0, NR_VCPUS);
	ok &= run_all_drained();
	return end("others_take_over") & ok;
}

/* A change while the pages of the last one are not all written yet. */
static bool test_many_changes(void)
{
	bool ok = begin();
	int i;

	for (i = 0; i < 20; i++) {
		step();
		if (!run(i % 3))
			drain(i % 3, 1);
	}
	ok &= run_all_drained();
	return end("many_changes") & ok;
}

/* A guest can have all pages written as well: TSCs that differ are not stable. */
static bool test_guest_tsc(void)
{
	bool ok = begin();
	struct kvmclock_guest *guest = kvmclock_guest(&kc, 0);

	guest->op = KVMCLOCK_ADD_MSR;
	guest->arg[0] = MSR_IA32_TSC_ADJUST;
	guest->arg[1] = 1UL << 36;
	ok &= run_drained(0);
	guest->op = KVMCLOCK_NOP;
	ok &= run_all_drained();
	return end("guest_tsc") & ok;
}

/* What the guest has read of the clock through each page, and the last one of these. */
struct readings {
	u64 page;
	u64 ns[NR_VCPUS];
};

/* One after the other, without leaving the guest by itself. */
static void guest_read_all(struct kvmclock_guest *guest, struct readings *readings)
{
	u64 page;

	for (page = readings->page; page < NR_VCPUS; page++) {
		readings->ns[page] =
			kvmclock_read((void *)(KVMCLOCK_PAGES_GPA + page * PAGE_SIZE));
		WRITE_ONCE(readings->page, page);
	}
	GUEST_UCALL_NONE();
}

/* The host provides them again, zeroed, where somebody wants to read them. */
static void step_without_pages(void)
{
	TEST_ASSERT(!madvise(kvmclock_page_hva(&kc, 1), (NR_VCPUS - 1) * PAGE_SIZE,
			     MADV_DONTNEED), "MADV_DONTNEED");
	step();
}

/*
 * All pages but the first are absent as the clock is set, and are provided, zeroed,
 * where the guest reads them: each is written before that, and after a full ring was
 * drained.
 */
static bool test_fault_in(void)
{
	bool ok = begin();
	struct readings *readings;
	gva_t gva;
	int i, old = 0;

	gva = vm_alloc(kc.vm, sizeof(*readings), KVM_UTIL_MIN_VADDR);
	readings = addr_gva2hva(kc.vm, gva);
	memset(readings, 0, sizeof(*readings));
	kvmclock_map_pages(&kc, NR_VCPUS);

	step_without_pages();
	vcpu_arch_set_entry_point(kc.vcpu[0], guest_read_all);
	vcpu_args_set(kc.vcpu[0], 2, kc.guest_gva[0], gva);
	ok &= run_drained(0);

	for (i = 1; i < NR_VCPUS; i++)
		old += readings->ns[i] < readings->ns[i - 1];
	kvmclock_measure("dirty_ring.fault_in.old", old, "pages");
	ok &= check(readings->page == NR_VCPUS - 1, "%lu pages were read", readings->page + 1);
	ok &= check(!old, "%d of %d pages showed an old line", old, NR_VCPUS);
	ok &= check(nr_full, "no ring was full");

	vcpu_arch_set_entry_point(kc.vcpu[0], kvmclock_guest_main);
	vcpu_args_set(kc.vcpu[0], 1, kc.guest_gva[0]);
	ok &= run_all_drained();
	return end("fault_in") & ok;
}

/* Map a page on vCPU 0, whose ring may have to be drained for it. */
static bool pre_fault(int page)
{
	struct kvm_pre_fault_memory range;

	for (;;) {
		range = (struct kvm_pre_fault_memory){
			.gpa = kvmclock_page_gpa(page),
			.size = PAGE_SIZE,
		};
		if (!__vcpu_ioctl(kc.vcpu[0], KVM_PRE_FAULT_MEMORY, &range))
			return true;
		if (!check(errno == EAGAIN, "page %d: errno %d", page, errno))
			return false;
		nr_full++;
		if (!check(drain(0, 1), "page %d: the ring is full of nothing", page))
			return false;
	}
}

/* The same without entering the guest: each page is written before it is mapped. */
static bool test_pre_fault(void)
{
	int page, old = 0;
	bool ok = begin();

	step_without_pages();
	ok &= run_drained(0);
	for (page = 1; page < NR_VCPUS && ok; page++) {
		ok = pre_fault(page);
		old += labs(kvmclock_page_error(&kc, page, page_time(page))) > 1;
	}
	ok &= check(!old, "%d of %d pages showed an old line", old, NR_VCPUS);
	ok &= check(nr_full, "no ring was full");
	ok &= run_all_drained();
	return end("pre_fault") & ok;
}

/* For a guest that uses Xen's clocks, too, it is three pages for each vCPU. */
static bool test_xen(void)
{
	bool ok;

	if (!kc.vm)
		create_vm();
	enable_xen();
	ok = begin();
	step();
	ok &= run_all_drained();
	return end("xen") & ok;
}

static const char *no_xen(void)
{
	int caps = kvm_check_cap(KVM_CAP_XEN_HVM);

	return caps & KVM_XEN_HVM_CONFIG_SHARED_INFO ? NULL : "no KVM_CAP_XEN_HVM";
}

static const struct kvmclock_test tests[] = {
	{ "set_clock", test_set_clock, .always = true },
	{ "first_writes_all", test_first_writes_all },
	{ "others_take_over", test_others_take_over, .always = true },
	{ "many_changes", test_many_changes, .always = true },
	/* TSCs are equal before "guest_tsc" only. */
	{ "fault_in", test_fault_in },
	{ "pre_fault", test_pre_fault, kvmclock_cannot_pre_fault },
	{ "guest_tsc", test_guest_tsc, .always = true },
	{ "xen", test_xen, no_xen, .always = true },
};

int main(void)
{
	int i;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL));
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_MAX_VCPUS) >= NR_VCPUS);
	kvmclock_start(ARRAY_SIZE(tests), 0);

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], KVM_CLOCK_MONOTONIC, NULL);

	/* That many vCPUs are gone much faster with the process than one by one. */
	kvmclock_finished();
}
