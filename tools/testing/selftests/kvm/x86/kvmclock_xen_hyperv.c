// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that Xen's and Hyper-V's clocks tell what kvmclock tells.
 *
 * Xen's vcpu_info and vcpu_time_info hold pvclock structures as kvmclock's page
 * does: at the same TSC they give the same nanosecond, whatever has happened in
 * between.  Only flags differ: the guest can ask for PVCLOCK_TSC_STABLE_BIT to be
 * withheld from it, and PVCLOCK_GUEST_STOPPED is kvmclock's alone.
 *
 * Hyper-V's reference TSC counts units of 100 ns, by one page for all vCPUs or by
 * an MSR.  A page that a change made invalid must become valid again.
 */
#include "kvmclock.h"

#define NR_VCPUS	2

/* Where Xen's structures are in the page of a vCPU that does not exist. */
#define XEN_PAGE	NR_VCPUS
#define OTHER_PAGE	(NR_VCPUS + 1)
#define HYPERV_PAGE	(NR_VCPUS + 2)
#define MAX_VCPUS	(NR_VCPUS + 3)

#define XEN_VCPU_INFO(i)	(0x000 + 0x40 * (i))
#define XEN_TIME_INFO(i)	(0x200 + 0x40 * (i))

/* struct vcpu_info's member time, and struct shared_info's wc and wc_sec_hi. */
#define XEN_INFO_TIME	32
#define XEN_WC		0xc00
#define XEN_WC_SEC_HI	0xc0c

static struct kvmclock_vm kc;

static bool judge(struct kvmclock_series *series, const char *what, int mode, const char *unit,
		  s64 low, s64 high)
{
	char key[96];

	snprintf(key, sizeof(key), "xen_hyperv.%s.%s", what, kvmclock_modes()[mode].name);
	return kvmclock_within(series, key, unit, low, high);
}

static gpa_t page_gpa(int page)
{
	return addr_gva2gpa(kc.vm, kc.guest_gva[page]);
}

static void *page_hva(int page)
{
	return kvmclock_guest(&kc, page);
}

static void tsc_adjust_all(u64 cycles)
{
	int i;

	for (i = 0; i < kc.nr_vcpus; i++)
		kvmclock_run(&kc, i, KVMCLOCK_ADD_MSR, MSR_IA32_TSC_ADJUST, cycles);
}

static void add_offset(int i, u64 cycles)
{
	kvmclock_set_offset(kc.vcpu[i], kvmclock_get_offset(kc.vcpu[i]) + cycles);
}

static void set_offsets_equal(void)
{
	u64 offset = kvmclock_get_offset(kc.vcpu[0]);
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_set_offset(kc.vcpu[i], offset);
}

/* Move the TSC of all vCPUs, and the clock, by a restore. */
static bool restore(void)
{
	struct kvm_clock_data data;
	int err;

	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	data = kvmclock_get(&kc);
	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC;
	data.guest_tsc += 1UL << 36;
	data.clock += 500 * NSEC_PER_SEC;
	err = kvmclock_try_set(&kc, &data);
	kvmclock_opt_in(&kc, 0);
	if (err)
		ksft_print_msg("KVM_SET_CLOCK: errno %d\n", err);
	return !err;
}

static const char *no_guest_tsc(void)
{
	return kvmclock_lacks(KVM_CLOCK_GUEST_TSC);
}

/* ---- Xen ---- */

static void xen_config(u32 flags)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL | flags,
		.msr = 0x40000200,
	};

	vm_ioctl(kc.vm, KVM_XEN_HVM_CONFIG, &config);
}

static void xen_vcpu_attr(int i, u16 type, u64 gpa)
{
	struct kvm_xen_vcpu_attr attr = { .type = type, .u.gpa = gpa };

	vcpu_ioctl(kc.vcpu[i], KVM_XEN_VCPU_SET_ATTR, &attr);
}

static void xen_create(int mode)
{
	int i;

	kvmclock_vm_create(&kc, kvmclock_modes()[mode].khz, NR_VCPUS, MAX_VCPUS);
	xen_config(0);
	for (i = 0; i < NR_VCPUS; i++) {
		xen_vcpu_attr(i, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO,
			      page_gpa(XEN_PAGE) + XEN_VCPU_INFO(i));
		xen_vcpu_attr(i, KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO,
			      page_gpa(XEN_PAGE) + XEN_TIME_INFO(i));
	}
	kc.xen_page = page_hva(XEN_PAGE) + XEN_TIME_INFO(0);
	kvmclock_settle(&kc);
}

static struct pvclock_vcpu_time_info *xen_time(int i, int which)
{
	void *page = page_hva(XEN_PAGE);

	return page + (which ? XEN_TIME_INFO(i) : XEN_VCPU_INFO(i) + XEN_INFO_TIME);
}

/* Both of Xen's structures against kvmclock's page, now and in an hour. */
static void xen_compare(struct kvmclock_series *diff)
{
	u64 now = rdtsc(), hour = kvmclock_host_khz() * 3600000UL;
	struct kvmclock_shot kvm, xen;
	int i, which;

	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &kvm);
	for (which = 0; which < 2; which++) {
		xen = kvm;
		for (i = 0; i < NR_VCPUS; i++) {
			kvmclock_snapshot(xen_time(i, which), &xen.line[i]);
			kvmclock_record(diff, kvmclock_step(&kvm, &xen, i, now));
			kvmclock_record(diff, kvmclock_step(&kvm, &xen, i, now + hour));
		}
	}
}

static bool test_xen_lines(int mode)
{
	struct kvmclock_series diff = {};

	xen_compare(&diff);
	kvmclock_set(&kc, 1000 * NSEC_PER_SEC, 0, 0);
	xen_compare(&diff);
	tsc_adjust_all(1UL << 36);
	xen_compare(&diff);
	kvmclock_run(&kc, 0, KVMCLOCK_ADD_MSR, MSR_IA32_TSC, 1UL << 36);
	xen_compare(&diff);
	add_offset(1, 123456789);
	xen_compare(&diff);
	vcpu_set_msr(kc.vcpu[0], MSR_IA32_TSC, 1UL << 50);
	vcpu_set_msr(kc.vcpu[1], MSR_IA32_TSC, 1UL << 50);
	xen_compare(&diff);
	return judge(&diff, "xen_lines", mode, "ns", 0, 0);
}

static bool test_xen_restore(int mode)
{
	struct kvmclock_series diff = {};
	bool ok;

	ok = restore();
	xen_compare(&diff);
	return judge(&diff, "xen_restore", mode, "ns", 0, 0) && ok;
}

static bool xen_flags_are(u8 kvm, u8 xen)
{
	int i;

	kvmclock_settle(&kc);
	for (i = 0; i < NR_VCPUS; i++)
		if (kc.page[i]->flags != kvm || xen_time(i, 0)->flags != xen ||
		    xen_time(i, 1)->flags != xen)
			return false;
	return true;
}

static bool test_xen_flags(int mode)
{
	const u8 stable = PVCLOCK_TSC_STABLE_BIT;
	int caps = kvm_check_cap(KVM_CAP_XEN_HVM), i;
	bool ok;

	set_offsets_equal();
	ok = xen_flags_are(stable, stable);
	add_offset(1, 1);
	ok &= xen_flags_are(0, 0);
	add_offset(1, -1);
	ok &= xen_flags_are(stable, stable);

	if (caps & KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE) {
		xen_config(KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE);
		ok &= xen_flags_are(stable, 0);
		xen_config(0);
		ok &= xen_flags_are(stable, stable);
	}

	for (i = 0; i < NR_VCPUS; i++)
		vcpu_ioctl(kc.vcpu[i], KVM_KVMCLOCK_CTRL, NULL);
	return ok && xen_flags_are(stable | PVCLOCK_GUEST_STOPPED, stable);
}

/* A Xen guest has no kvmclock page; nor does it need one. */
static bool test_xen_alone(int mode)
{
	struct kvmclock_shot before, after;
	struct kvmclock_series steps = {};
	u64 now;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		kvmclock_run(&kc, i, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW, 0);
		kc.page[i] = xen_time(i, 1);
	}
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &before);
	tsc_adjust_all(1UL << 36);
	kvmclock_run(&kc, 1, KVMCLOCK_ADD_MSR, MSR_IA32_TSC, 1UL << 36);
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &after);
	now = rdtsc();
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_record(&steps, kvmclock_step(&before, &after, i, now));
	return judge(&steps, "xen_alone", mode, "ns", 0, 0);
}

/* When the guest's clock was 0, by GET's realtime and the guest's own line. */
static s64 true_epoch(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	struct kvmclock_shot shot;

	kvmclock_shoot(&kc, &shot);
	return data.realtime - kvmclock_at(&shot, 0, data.host_tsc);
}

/*
 * Xen's wall clock is written when the guest's shared info page is registered.
 * It is to lie between the true epochs before and after, but for the 1 ns that
 * both realtime and the clock are rounded by, and a cycle with scaling.
 */
static bool test_xen_wall_clock(int mode)
{
	struct kvm_xen_hvm_attr lm = {
		.type = KVM_XEN_ATTR_TYPE_LONG_MODE,
		.u.long_mode = 1,
	};
	struct kvm_xen_hvm_attr info = {
		.type = KVM_XEN_ATTR_TYPE_SHARED_INFO,
		.u.shared_info.gfn = page_gpa(XEN_PAGE) >> 12,
	};
	struct pvclock_wall_clock *wc = page_hva(XEN_PAGE) + XEN_WC;
	u32 *sec_hi = page_hva(XEN_PAGE) + XEN_WC_SEC_HI;
	s64 slack = kvmclock_cycle_ns(&kc);
	struct kvmclock_series error = {};
	s64 before, told, after;

	vm_ioctl(kc.vm, KVM_XEN_HVM_SET_ATTR, &lm);
	before = true_epoch();
	vm_ioctl(kc.vm, KVM_XEN_HVM_SET_ATTR, &info);
	after = true_epoch();
	told = (((u64)*sec_hi << 32) + wc->sec) * NSEC_PER_SEC + wc->nsec;

	kvmclock_record(&error, told < before && told < after ? told - before :
			told > before && told > after ? told - after : 0);
	return judge(&error, "xen_wall_clock", mode, "ns", -2 - slack, 2 + slack);
}

static const char *no_xen(void)
{
	int caps = kvm_check_cap(KVM_CAP_XEN_HVM);

	return caps & KVM_XEN_HVM_CONFIG_SHARED_INFO ? NULL : "no KVM_CAP_XEN_HVM";
}

/* ---- Hyper-V ---- */

static void hyperv_create(int mode)
{
	kvmclock_hyperv_create(&kc, kvmclock_modes()[mode].khz, NR_VCPUS, HYPERV_PAGE);
}

static void hyperv_create_one(int mode)
{
	kvmclock_hyperv_create(&kc, kvmclock_modes()[mode].khz, 1, HYPERV_PAGE);
}

static struct kvmclock_tsc_page *tsc_page(void)
{
	return page_hva(HYPERV_PAGE);
}

/*
 * The page's time less kvmclock's at the same TSC, in 100 ns.  Of the page's
 * three terms each is rounded down, so that one unit more or less is right.
 */
static s64 hyperv_diff(const struct kvmclock_shot *shot, u64 host_tsc)
{
	u64 tsc = kvmclock_scale(host_tsc, shot->ratio) + shot->offset[0];
	u64 ref = kvmclock_mul_shr(tsc, tsc_page()->scale, 64) + tsc_page()->offset;

	return ref - kvmclock_at(shot, 0, host_tsc) / 100;
}

static bool hyperv_compare(struct kvmclock_series *diff)
{
	u64 now = rdtsc(), hour = kvmclock_host_khz() * 3600000UL;
	struct kvmclock_shot shot;

	kvmclock_settle(&kc);
	if (!tsc_page()->sequence)
		return false;

	kvmclock_shoot(&kc, &shot);
	kvmclock_record(diff, hyperv_diff(&shot, now));
	kvmclock_record(diff, hyperv_diff(&shot, now + hour));
	return true;
}

static bool test_hyperv_page(int mode)
{
	struct kvmclock_series diff = {};
	bool valid;

	valid = hyperv_compare(&diff);
	kvmclock_set(&kc, 1000 * NSEC_PER_SEC, 0, 0);
	valid = hyperv_compare(&diff) && valid;
	vcpu_set_msr(kc.vcpu[0], MSR_IA32_TSC, 1UL << 50);
	vcpu_set_msr(kc.vcpu[1], MSR_IA32_TSC, 1UL << 50);
	valid = hyperv_compare(&diff) && valid;
	return judge(&diff, "hyperv_page", mode, "x100ns", -1, 1) && valid;
}

static bool test_hyperv_restore(int mode)
{
	struct kvmclock_series diff = {};
	bool valid;

	valid = restore();
	valid = hyperv_compare(&diff) && valid;
	return judge(&diff, "hyperv_restore", mode, "x100ns", -1, 1) && valid;
}

static bool test_hyperv_tsc_adjust(int mode)
{
	struct kvmclock_series diff = {};
	bool valid;

	tsc_adjust_all(1UL << 36);
	valid = hyperv_compare(&diff);
	return judge(&diff, "hyperv_tsc_adjust", mode, "x100ns", -1, 1) && valid;
}

/* The counter's MSR, read by the host, is between two GETs, in its unit. */
static bool test_hyperv_counter(int mode)
{
	bool ok = true;
	u64 low, ref, high;
	int i;

	for (i = 0; i < 10; i++) {
		low = kvmclock_get(&kc).clock / 100;
		ref = vcpu_get_msr(kc.vcpu[i % NR_VCPUS], HV_X64_MSR_TIME_REF_COUNT);
		high = kvmclock_get(&kc).clock / 100;
		if (ref + 1 < low || ref > high + 1) {
			ksft_print_msg("%lu is not from %lu to %lu\n", ref, low, high);
			ok = false;
		}
	}
	return ok;
}

/* Read by the guest, it is between two readings of kvmclock. */
static bool test_hyperv_guest_counter(int mode)
{
	bool ok = true;
	u64 low, ref, high;
	int i;

	for (i = 0; i < 10; i++) {
		low = kvmclock_run(&kc, 1, KVMCLOCK_READ, 0, 0) / 100;
		ref = kvmclock_run(&kc, 0, KVMCLOCK_RDMSR, HV_X64_MSR_TIME_REF_COUNT, 0);
		high = kvmclock_run(&kc, 1, KVMCLOCK_READ, 0, 0) / 100;
		if (ref + 1 < low || ref > high + 1) {
			ksft_print_msg("%lu is not from %lu to %lu\n", ref, low, high);
			ok = false;
		}
	}
	return ok;
}

/* One page cannot serve vCPUs with different TSCs, until they are equal again. */
static bool test_hyperv_offsets(int mode)
{
	struct kvmclock_series diff = {};
	bool invalid, valid;

	add_offset(1, 123456789);
	kvmclock_settle(&kc);
	invalid = !tsc_page()->sequence;
	if (!test_hyperv_counter(mode))
		invalid = false;
	add_offset(1, -123456789);
	valid = hyperv_compare(&diff);
	return judge(&diff, "hyperv_offsets", mode, "x100ns", -1, 1) && valid && invalid;
}

static bool test_hyperv_clocksource(int mode)
{
	const char *other = kvmclock_other_clocksource();
	struct kvmclock_series diff = {};
	char *tsc = sys_get_cur_clocksource();
	bool valid;

	TEST_ASSERT(kvmclock_set_clocksource(other), "Cannot switch to %s", other);
	kvmclock_wait_flags(&kc, 0);
	kvmclock_settle(&kc);
	TEST_ASSERT(kvmclock_set_clocksource(tsc), "Cannot switch to %s", tsc);
	kvmclock_wait_flags(&kc, KVMCLOCK_MASTER_FLAGS);
	free(tsc);
	valid = hyperv_compare(&diff);
	return judge(&diff, "hyperv_clocksource", mode, "x100ns", -1, 1) && valid;
}

/*
 * The TSC of a single vCPU never differs from others: whatever moves it, the page
 * has to move as well, though nothing else changes.
 */
static bool test_hyperv_one_vcpu(int mode)
{
	struct kvmclock_series diff = {};
	bool valid;

	valid = hyperv_compare(&diff);
	if (!no_guest_tsc())
		valid = restore() && hyperv_compare(&diff) && valid;
	tsc_adjust_all(1UL << 36);
	valid = hyperv_compare(&diff) && valid;
	kvmclock_run(&kc, 0, KVMCLOCK_ADD_MSR, MSR_IA32_TSC, 1UL << 36);
	valid = hyperv_compare(&diff) && valid;
	add_offset(0, 1UL << 36);
	valid = hyperv_compare(&diff) && valid;
	vcpu_set_msr(kc.vcpu[0], MSR_IA32_TSC, 1UL << 50);
	valid = hyperv_compare(&diff) && valid;
	vcpu_set_msr(kc.vcpu[0], MSR_IA32_TSC, 0);
	valid = hyperv_compare(&diff) && valid;
	return judge(&diff, "hyperv_one_vcpu", mode, "x100ns", -1, 1) && valid;
}

/* ---- Hyper-V's counter while a guest writes its TSC ---- */

#define NR_COUNTER_READINGS	1000

/* Away from the other vCPUs' TSC and back to it: Hyper-V's page is valid in between. */
static void guest_tsc_writer(struct kvmclock_guest *guest)
{
	u64 adjust = rdmsr(MSR_IA32_TSC_ADJUST);

	for (;;) {
		wrmsr(MSR_IA32_TSC_ADJUST, adjust + (1UL << 36));
		wrmsr(MSR_IA32_TSC_ADJUST, adjust);
		wrmsr(MSR_IA32_TSC, rdtsc() + (1UL << 36));
		wrmsr(MSR_IA32_TSC_ADJUST, adjust);
		guest->arg[0]++;
		if (!(guest->arg[0] % KVMCLOCK_BATCH))
			GUEST_UCALL_NONE();
	}
}

/* Read by the host, or by the guest on vCPU 1. */
static u64 read_counter(bool guest)
{
	if (guest)
		return kvmclock_run(&kc, 1, KVMCLOCK_RDMSR, HV_X64_MSR_TIME_REF_COUNT, 0);
	return vcpu_get_msr(kc.vcpu[1], HV_X64_MSR_TIME_REF_COUNT);
}

/*
 * The counter is the clock, whose line no guest touches by writing its TSC: both
 * are rounded down, so that there is nothing to allow for.
 */
static bool test_hyperv_counter_tsc_written(int mode)
{
	struct kvmclock_thread thread;
	u64 low, ref, high, worst = 0;
	int i, wrong = 0;
	s64 error;

	kvmclock_set_code(&kc, 0, guest_tsc_writer);
	kvmclock_thread_start(&thread, kc.vcpu[0]);
	for (i = 0; i < NR_COUNTER_READINGS; i++) {
		low = kvmclock_get(&kc).clock / 100;
		ref = read_counter(i & 1);
		high = kvmclock_get(&kc).clock / 100;
		error = kvmclock_outside(ref, low, high);
		wrong += error != 0;
		worst = max_t(u64, worst, labs(error));
	}
	kvmclock_thread_stop(&thread);

	return check(!wrong, "%d of %d readings wrong, by up to %lu00 ns", wrong, i, worst) &
	       check(kvmclock_guest(&kc, 0)->arg[0], "vCPU 0 has not written its TSC");
}

/* ---- The sequence of Hyper-V's page ---- */

/* What pages held when they were valid. */
static struct {
	int page;
	struct kvmclock_tsc_page contents;
} seen[KVMCLOCK_MAX_SAMPLES];

static int nr_seen;

static void saw(int page)
{
	TEST_ASSERT(nr_seen < ARRAY_SIZE(seen), "KVMCLOCK_MAX_SAMPLES is too small");
	seen[nr_seen].page = page;
	memcpy(&seen[nr_seen].contents, page_hva(page), sizeof(struct kvmclock_tsc_page));
	nr_seen++;
}

/*
 * A guest that was interrupted while it read the page takes what it has read for
 * good if it finds the sequence that it began with.
 */
static bool sequence_is_new(int page)
{
	const struct kvmclock_tsc_page *now = page_hva(page), *old;
	bool ok = true;
	int i;

	for (i = 0; i < nr_seen && ok; i++) {
		old = &seen[i].contents;
		if (seen[i].page == page && old->sequence == now->sequence)
			ok &= check(old->scale == now->scale && old->offset == now->offset,
				    "sequence %u with offsets %ld and %ld", now->sequence,
				    (s64)old->offset, (s64)now->offset);
	}
	saw(page);
	return ok;
}

/* Have the page written, other than it was at any time before. */
static bool sequence_step(int page)
{
	static u64 hours;
	const struct kvmclock_tsc_page *now = page_hva(page);

	kvmclock_set(&kc, ++hours * 3600 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&kc);
	return check(now->sequence && now->sequence != ~0U, "sequence 0x%x", now->sequence) &&
	       sequence_is_new(page);
}

static void write_reference_tsc(u64 value)
{
	kvmclock_run(&kc, 0, KVMCLOCK_WRMSR, HV_X64_MSR_REFERENCE_TSC, value);
}

static bool sequence_invalidated(void)
{
	bool ok;

	add_offset(1, 123456789);
	kvmclock_settle(&kc);
	ok = check(!tsc_page()->sequence, "sequence %u", tsc_page()->sequence);
	add_offset(1, -123456789);
	return sequence_step(HYPERV_PAGE) && ok;
}

static bool sequence_disabled(bool cleared)
{
	write_reference_tsc(0);
	if (cleared)
		memset(tsc_page(), 0, sizeof(struct kvmclock_tsc_page));
	write_reference_tsc(page_gpa(HYPERV_PAGE) | 1);
	return sequence_step(HYPERV_PAGE);
}

static bool sequence_moved(bool cleared)
{
	bool ok;

	write_reference_tsc(page_gpa(OTHER_PAGE) | 1);
	ok = sequence_step(OTHER_PAGE);
	if (cleared)
		memset(tsc_page(), 0, sizeof(struct kvmclock_tsc_page));
	write_reference_tsc(page_gpa(HYPERV_PAGE) | 1);
	return sequence_step(HYPERV_PAGE) && ok;
}

/* From another host, where the sequence had come farther by @ahead. */
static bool sequence_restored(u32 ahead)
{
	struct kvmclock_tsc_page *page = tsc_page();

	vcpu_set_msr(kc.vcpu[0], HV_X64_MSR_REFERENCE_TSC, 0);
	page->sequence += ahead;
	page->offset++;
	saw(HYPERV_PAGE);
	vcpu_set_msr(kc.vcpu[0], HV_X64_MSR_REFERENCE_TSC, page_gpa(HYPERV_PAGE) | 1);
	return sequence_step(HYPERV_PAGE);
}

static bool test_hyperv_sequence(int mode)
{
	bool ok;
	int i;

	nr_seen = 0;
	ok = sequence_step(HYPERV_PAGE);
	for (i = 0; i < 4 && ok; i++)
		ok = sequence_invalidated() && sequence_step(HYPERV_PAGE) &&
		     sequence_disabled(i & 1) && sequence_moved(i & 1) &&
		     sequence_restored(i & 1 ? 1000 : 1);
	return ok;
}

static const char *no_hyperv(void)
{
	return kvm_has_cap(KVM_CAP_HYPERV_TIME) ? NULL : "no KVM_CAP_HYPERV_TIME";
}

static const char *no_clocksource(void)
{
	if (!kvmclock_other_clocksource())
		return "no other clocksource";
	return no_hyperv();
}

static const char *no_xen_restore(void)
{
	const char *why = no_xen();

	return why ? why : no_guest_tsc();
}

static const char *no_hyperv_restore(void)
{
	const char *why = no_hyperv();

	return why ? why : no_guest_tsc();
}

static const struct {
	const char *name;
	bool (*run)(int mode);
	const char *(*missing)(void);
	/* The first of a VM makes it, the last one destroys it. */
	void (*create)(int mode);
	bool last;
} tests[] = {
	{ "xen_wall_clock", test_xen_wall_clock, no_xen, xen_create },
	{ "xen_lines", test_xen_lines, no_xen },
	{ "xen_restore", test_xen_restore, no_xen_restore },
	{ "xen_flags", test_xen_flags, no_xen },
	{ "xen_alone", test_xen_alone, no_xen, .last = true },
	{ "hyperv_page", test_hyperv_page, no_hyperv, hyperv_create },
	{ "hyperv_restore", test_hyperv_restore, no_hyperv_restore },
	{ "hyperv_counter", test_hyperv_counter, no_hyperv },
	{ "hyperv_guest_counter", test_hyperv_guest_counter, no_hyperv },
	{ "hyperv_tsc_adjust", test_hyperv_tsc_adjust, no_hyperv },
	{ "hyperv_clocksource", test_hyperv_clocksource, no_clocksource },
	{ "hyperv_offsets", test_hyperv_offsets, no_hyperv, .last = true },
	{ "hyperv_counter_tsc_written", test_hyperv_counter_tsc_written, no_hyperv,
	  hyperv_create, true },
	{ "hyperv_sequence", test_hyperv_sequence, no_hyperv, hyperv_create, true },
	{ "hyperv_one_vcpu", test_hyperv_one_vcpu, no_hyperv, hyperv_create_one, true },
};

static void run_test(int mode, int t)
{
	const char *why = tests[t].missing(), *name = kvmclock_modes()[mode].name;

	if (why) {
		ksft_test_result_skip("%s %s: %s\n", tests[t].name, name, why);
		return;
	}

	if (tests[t].create)
		tests[t].create(mode);
	ksft_test_result(tests[t].run(mode), "%s %s\n", tests[t].name, name);
	if (tests[t].last)
		kvmclock_vm_destroy(&kc);
}

int main(int argc, char *argv[])
{
	int mode, t;

	kvmclock_start(0, ARRAY_SIZE(tests));
	for (mode = -1; kvmclock_next_mode(&mode);)
		for (t = 0; t < ARRAY_SIZE(tests); t++)
			run_test(mode, t);
	kvmclock_finished();
}
