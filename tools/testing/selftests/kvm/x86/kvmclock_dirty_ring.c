// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that no page that the clock changes is lost to user space that tracks
 * dirty pages by rings.
 *
 * A ring belongs to a vCPU, and is the smallest that KVM takes.  There are more
 * pages than that, one or three for each vCPU.  A vCPU writes its own and vCPU 0's
 * for each change, until its ring is full: it leaves to user space then, and goes
 * on once the ring was drained.
 *
 * After all vCPUs have run, and after all rings were drained, each page that is not
 * what it was is to have been reported, and all show the clock as it is.
 */
#include <asm/barrier.h>

#include "kvmclock.h"

/*
 * More than the 256 entries of the smallest ring.  With Xen's, there are three pages
 * for each: more than 1024, the smallest ring where KVM reserves 512 entries.
 */
#define NR_VCPUS	350

/* Two pages for each fill any ring. */
#define NR_CHANGES	600

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

/* Any vCPU that goes on has written vCPU 0's page, too, and reports both. */
static bool test_boot_page(void)
{
	const int last = NR_VCPUS - 1;
	bool ok = begin();

	step();
	ok &= run_drained(last);
	drain(last, 1);
	ok &= check(reported[0] && reported[last], "%d, %d", reported[0], reported[last]);
	ok &= check(labs(kvmclock_page_error(&kc, 0, page_time(0))) <= 1, "an old line");
	ok &= run_all_drained();
	return end("boot_page") & ok;
}

/* One vCPU writes for one change after the other, and is drained when it says so. */
static bool test_one_runs(void)
{
	bool ok = begin();
	int i;

	for (i = 0; i < NR_CHANGES && ok; i++) {
		step();
		ok = run_drained(1);
	}
	ok &= check(nr_full, "no ring was full");
	ok &= run_all_drained();
	return end("one_runs") & ok;
}

/* Rings are drained after all have gone on. */
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

/* A change while not all have gone on after the last one. */
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
	{ "boot_page", test_boot_page },
	{ "one_runs", test_one_runs, .always = true },
	{ "others_take_over", test_others_take_over, .always = true },
	{ "many_changes", test_many_changes, .always = true },
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
