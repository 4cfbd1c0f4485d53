// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that the guest's TSC has the origin of its clock: both read 0 when the VM
 * is created, however long it takes until there is a vCPU, and whatever frequency
 * it gets before a TSC is written.
 *
 * KVM_GET_CLOCK has clock and host TSC of one instant, and what a vCPU's TSC reads
 * at a host TSC follows from its ratio and its offset.
 */
#include "kvmclock.h"

/* How old a VM is when it gets its first vCPU. */
#define AGE_US		300000

static struct kvmclock_vm kc;
static int mode;

static u32 mode_khz(void)
{
	u32 khz = kvmclock_modes()[mode].khz;

	return khz ? khz : kvmclock_host_khz();
}

static u64 to_ns(u64 cycles, u32 khz)
{
	unsigned __int128 product = cycles;

	return product * 1000000 / khz;
}

/* How far the clock is ahead of the time that vCPU @i's TSC has counted, in ns. */
static s64 apart_ns(int i, u32 khz, u64 ratio)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	u64 tsc = kvmclock_scale(data.host_tsc, ratio) + kvmclock_get_offset(kc.vcpu[i]);

	return kvmclock_without(data.clock - to_ns(tsc, khz),
				data.clock, kvmclock_drift_ppb());
}

/*
 * One cycle, rounding, and that a scaled TSC's frequency is no whole number of kHz:
 * 1 in a million at the least.
 */
static bool has_origin(int i, const char *what)
{
	u64 slack_ns = 2 + kvmclock_get(&kc).clock / mode_khz() + 1000000 / mode_khz();
	s64 ns = apart_ns(i, mode_khz(), kc.ratio);
	char key[64];

	snprintf(key, sizeof(key), "origin.%s.%s", what, kvmclock_modes()[mode].name);
	kvmclock_measure(key, ns, "ns");
	return check(labs(ns) <= slack_ns, "vCPU %d: %ld ns apart", i, ns);
}

static void create_old_vm(u32 khz)
{
	kvmclock_vm_init(&kc, khz, 3);
	usleep(AGE_US);
}

static bool same_offset(int a, int b)
{
	s64 diff = kvmclock_get_offset(kc.vcpu[b]) - kvmclock_get_offset(kc.vcpu[a]);

	return check(!diff, "vCPUs %d and %d: %ld cycles apart", a, b, diff);
}

/* The VM's frequency is set before there is a vCPU. */
static bool test_vm(void)
{
	bool ok;

	create_old_vm(kvmclock_modes()[mode].khz);
	kvmclock_vcpu_add(&kc);
	ok = has_origin(0, "vm");
	usleep(AGE_US / 3);
	kvmclock_vcpu_add(&kc);
	return ok & has_origin(1, "vm_later") & same_offset(0, 1);
}

static void set_vcpu_khz(int i)
{
	vcpu_ioctl(kc.vcpu[i], KVM_SET_TSC_KHZ, (void *)(unsigned long)mode_khz());
}

/* The vCPUs' frequency is set after they were created, one after the other. */
static bool test_vcpu(void)
{
	bool ok;

	create_old_vm(0);
	kc.ratio = kvmclock_ratio(kvmclock_modes()[mode].khz);
	kvmclock_vcpu_add(&kc);
	set_vcpu_khz(0);
	ok = has_origin(0, "vcpu");
	kvmclock_vcpu_add(&kc);
	usleep(AGE_US / 3);
	set_vcpu_khz(1);
	return ok & has_origin(0, "vcpu_still") & has_origin(1, "vcpu_later") & same_offset(0, 1);
}

/* The same if they have run. */
static bool test_vcpu_ran(void)
{
	create_old_vm(0);
	kc.ratio = kvmclock_ratio(kvmclock_modes()[mode].khz);
	kvmclock_vcpu_add(&kc);
	kvmclock_enable(&kc, 0, 0);
	set_vcpu_khz(0);
	kvmclock_settle(&kc);
	return has_origin(0, "vcpu_ran");
}

/* The guest and KVM_GET_CLOCK agree. */
static bool test_guest(void)
{
	u64 first, tsc, last;
	s64 outside;

	create_old_vm(kvmclock_modes()[mode].khz);
	kvmclock_vcpu_add(&kc);
	kvmclock_enable(&kc, 0, 0);
	first = kvmclock_run(&kc, 0, KVMCLOCK_READ, 0, 0);
	tsc = kvmclock_run(&kc, 0, KVMCLOCK_RDTSC, 0, 0);
	last = kvmclock_run(&kc, 0, KVMCLOCK_READ, 0, 0);
	outside = kvmclock_outside(to_ns(tsc, mode_khz()), first, last);
	return check(first > AGE_US * 1000UL, "the clock is %lu ns", first) &&
	       check(labs(outside) <= 2 + last / mode_khz(), "%ld ns apart", outside);
}

/* ---- TSCs that were written ---- */

/* Write @data to vCPU @i's TSC; it is exact if the TSC reads that during the ioctl. */
static bool write_is_exact(int i, u64 data)
{
	u64 begin, end, offset;

	begin = rdtsc();
	vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC, data);
	end = rdtsc();
	offset = data - kvmclock_get_offset(kc.vcpu[i]);
	return check(!kvmclock_outside(offset, kvmclock_scale(begin, kc.ratio),
				       kvmclock_scale(end, kc.ratio)),
		     "vCPU %d's TSC is off", i);
}

static u64 read_tsc(int i)
{
	return kvmclock_scale(rdtsc(), kc.ratio) + kvmclock_get_offset(kc.vcpu[i]);
}

/* However close to what the TSC reads: the second write is the first that matches. */
static bool test_first_write(void)
{
	bool ok;

	create_old_vm(kvmclock_modes()[mode].khz);
	kvmclock_vcpu_add(&kc);
	kvmclock_vcpu_add(&kc);
	ok = write_is_exact(0, read_tsc(0) + mode_khz() * 100UL);
	vcpu_set_msr(kc.vcpu[1], MSR_IA32_TSC, read_tsc(1));
	return ok & same_offset(0, 1);
}

static bool test_first_write_below(void)
{
	create_old_vm(kvmclock_modes()[mode].khz);
	kvmclock_vcpu_add(&kc);
	return write_is_exact(0, 1);
}

/* The TSC that user space wrote keeps what it is offset by. */
static bool test_khz_after_write(void)
{
	u64 before, after;

	create_old_vm(0);
	kvmclock_vcpu_add(&kc);
	vcpu_set_msr(kc.vcpu[0], MSR_IA32_TSC, 1UL << 50);
	before = kvmclock_get_offset(kc.vcpu[0]);
	set_vcpu_khz(0);
	after = kvmclock_get_offset(kc.vcpu[0]);
	return check(before == after, "moved by %ld cycles", (s64)(after - before));
}

/* So does the one that the guest wrote. */
static bool test_khz_after_guest(void)
{
	u64 before, after;

	create_old_vm(0);
	kvmclock_vcpu_add(&kc);
	kvmclock_run(&kc, 0, KVMCLOCK_ADD_MSR, MSR_IA32_TSC, 1UL << 50);
	before = kvmclock_get_offset(kc.vcpu[0]);
	set_vcpu_khz(0);
	after = kvmclock_get_offset(kc.vcpu[0]);
	return check(before == after, "moved by %ld cycles", (s64)(after - before));
}

/* A vCPU that comes after a write joins that one. */
static bool test_join_written(void)
{
	create_old_vm(kvmclock_modes()[mode].khz);
	kvmclock_vcpu_add(&kc);
	vcpu_set_msr(kc.vcpu[0], MSR_IA32_TSC, 1UL << 50);
	usleep(AGE_US / 3);
	kvmclock_vcpu_add(&kc);
	return same_offset(0, 1);
}

/*
 * A line that is restored before there is a vCPU, and moves no TSC, is one of the
 * reference TSC, which vCPUs join.
 */
static bool test_restore_first(void)
{
	struct kvm_clock_data data, got;
	s64 off;
	int err;

	create_old_vm(kvmclock_modes()[mode].khz);
	kvmclock_vcpu_add(&kc);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	data = kvmclock_get(&kc);
	kvmclock_vm_destroy(&kc);

	create_old_vm(kvmclock_modes()[mode].khz);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	data.flags = KVM_CLOCK_GUEST_TSC;
	data.clock = 7 * NSEC_PER_SEC;
	/* What the reference TSC has read since the VM was created. */
	data.guest_tsc = 1000;
	err = kvmclock_try_set(&kc, &data);
	kvmclock_vcpu_add(&kc);
	got = kvmclock_get(&kc);

	off = got.clock - data.clock - to_ns(got.guest_tsc - data.guest_tsc, mode_khz());
	return check(!err, "errno %d", err) &&
	       check(got.guest_tsc > mode_khz() * (AGE_US / 1000UL) &&
		     got.guest_tsc < mode_khz() * 60000UL, "TSC %lu", (u64)got.guest_tsc) &&
	       check(labs(off) <= 2 + (s64)(got.clock / mode_khz()), "%ld ns", off);
}

/* ---- A TSC that cannot be scaled to its frequency ---- */

/* It catches up with what it would be, had it run at it since then. */
static bool test_catchup(void)
{
	u32 khz = kvmclock_host_khz() * 3 / 2;
	u64 first, tsc, last;
	s64 outside;

	create_old_vm(0);
	kvmclock_vcpu_add(&kc);
	vcpu_ioctl(kc.vcpu[0], KVM_SET_TSC_KHZ, (void *)(unsigned long)khz);
	kvmclock_run(&kc, 0, KVMCLOCK_NOP, 0, 0);
	first = kvmclock_get(&kc).clock;
	tsc = kvmclock_run(&kc, 0, KVMCLOCK_RDTSC, 0, 0);
	last = kvmclock_get(&kc).clock;
	/* It lags while it is in the guest, by a third of the time. */
	outside = kvmclock_outside(to_ns(tsc, khz),
				   first - (last - first), last);
	return check(labs(outside) <= 2 + (s64)last / 1000000, "%ld ns apart", outside);
}

static const char *no_catchup(void)
{
	if (mode)
		return "its frequency is for another mode";
	return kvmclock_can_scale() ? "TSCs are scaled on this host" : NULL;
}

static const struct kvmclock_test tests[] = {
	{ "vm", test_vm },
	{ "vcpu", test_vcpu },
	{ "vcpu_ran", test_vcpu_ran },
	{ "guest", test_guest },
	{ "first_write", test_first_write },
	{ "first_write_below", test_first_write_below },
	{ "khz_after_write", test_khz_after_write },
	{ "khz_after_guest", test_khz_after_guest },
	{ "join_written", test_join_written },
};

static const struct kvmclock_test restore_first = { "restore_first", test_restore_first };
static const struct kvmclock_test catchup = { "catchup", test_catchup, no_catchup };

static void run(const struct kvmclock_test *test, u32 flags)
{
	kvmclock_run_test(test, flags, kvmclock_modes()[mode].name);
	if (kc.vm)
		kvmclock_vm_destroy(&kc);
}

int main(void)
{
	int i;

	kvmclock_start(0, ARRAY_SIZE(tests) + 2);
	for (mode = -1; kvmclock_next_mode(&mode);) {
		for (i = 0; i < ARRAY_SIZE(tests); i++)
			run(&tests[i], 0);
		run(&restore_first, KVM_CLOCK_GUEST_TSC);
		run(&catchup, 0);
	}
	kvmclock_finished();
}
