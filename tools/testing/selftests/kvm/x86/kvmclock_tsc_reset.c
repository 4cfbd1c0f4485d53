// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that a guest goes on when its host's TSC was reset, as some machines do
 * while they are suspended: its clock and its TSCs do not go back, and it has the
 * host's clock from then on.  vCPUs' TSCs are adjusted when they are loaded next;
 * a KVM_SET_CLOCK that comes before that restores the clock by wall time.
 *
 * The host goes through the motions with /sys/power/pm_test, after its TSC was set
 * back through /dev/cpu/0/msr.  It takes its own time from another clocksource
 * meanwhile, and is to have one CPU, and one without IA32_TSC_ADJUST: where Linux
 * knows that MSR, it puts the TSC right before KVM resumes.
 *
 * Such a VM is in host clock mode by the time of the reset.  For one that is in
 * master clock mode, a vCPU is put while the TSC is ahead, for less than a tick, so
 * that only KVM takes notice of it: the TSC then is behind when the host resumes.
 */
#include <fcntl.h>

#include "kvmclock.h"

#define MSR_FILE	"/dev/cpu/0/msr"
#define NR_VCPUS	2
/* More than it takes to suspend. */
#define RESET_S		4

static struct kvmclock_vm kc;
static int msr_fd;

/* Before the TSC was reset. */
static struct kvm_clock_data saved, before;
static u64 guest_tsc[NR_VCPUS], host_tsc[NR_VCPUS];
/* Just before that by the old TSC, and by the new one. */
static u64 old_tsc, new_tsc;

/* Whether Linux says that the host's CPUs have a feature: it may have been told not to use it. */
static bool host_flag(const char *name)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	char line[8192], *word;
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "flags", 5))
			continue;
		for (word = strtok(line, " \t\n"); word && !found; word = strtok(NULL, " \t\n"))
			found = !strcmp(word, name);
	}
	if (file)
		fclose(file);
	return found;
}

static void require_host(void)
{
	TEST_REQUIRE(kvmclock_can_suspend_host());
	TEST_REQUIRE(kvmclock_other_clocksource());
	TEST_REQUIRE(sysconf(_SC_NPROCESSORS_ONLN) == 1);
	TEST_REQUIRE(!host_flag("tsc_adjust"));
	msr_fd = open(MSR_FILE, O_RDWR);
	TEST_REQUIRE(msr_fd >= 0);
}

static void set_clocksource(const char *name)
{
	TEST_ASSERT(kvmclock_set_clocksource(name), "Cannot switch to %s", name);
}

static void write_host_tsc(s64 cycles)
{
	u64 tsc = rdtsc() + cycles;

	TEST_ASSERT(pwrite(msr_fd, &tsc, sizeof(tsc), MSR_IA32_TSC) == sizeof(tsc),
		    "Cannot write the host's TSC");
}

/*
 * Move the host's TSC.  What waits for a value of the TSC has to be armed anew,
 * which a sleep does that ends before everything else.
 */
static void move_host_tsc(s64 cycles)
{
	const struct timespec ns = { .tv_nsec = 1 };

	write_host_tsc(cycles);
	nanosleep(&ns, NULL);
}

static void look_before(void)
{
	int i;

	kvmclock_settle(&kc);
	for (i = 0; i < NR_VCPUS; i++) {
		host_tsc[i] = rdtsc();
		guest_tsc[i] = kvmclock_run(&kc, i, KVMCLOCK_RDTSC, 0, 0);
	}
	before = kvmclock_get(&kc);
}

static bool test_reset(void)
{
	u64 cycles = RESET_S * kvmclock_host_khz() * 1000UL;
	bool ok;

	set_clocksource(kvmclock_other_clocksource());
	look_before();

	old_tsc = rdtsc();
	new_tsc = old_tsc - cycles;
	move_host_tsc(-cycles);
	ok = kvmclock_suspend_host("core");

	set_clocksource("tsc");
	return check(ok, "Cannot suspend") &
	       check(rdtsc() < old_tsc, "The TSC reads %lu, not less than %lu", rdtsc(), old_tsc);
}

static bool test_clock(void)
{
	struct kvm_clock_data after = kvmclock_get(&kc);

	kvmclock_measure("tsc_reset.clock", after.clock - before.clock, "ns");
	return check(!(after.flags & KVM_CLOCK_TSC_STABLE), "flags 0x%x", after.flags) &
	       check(after.clock >= before.clock, "%lu ns, less than %lu", (u64)after.clock,
		     (u64)before.clock);
}

/* By wall time, with TSCs that are yet to be adjusted left alone. */
static bool test_restore(void)
{
	struct kvm_clock_data data = saved, got;
	s64 error;
	int err;

	/* Far from what the TSC reads, to see that it does not move. */
	data.guest_tsc += 1UL << 40;
	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC;
	err = kvmclock_try_set(&kc, &data);
	if (!check(err == EOPNOTSUPP, "SET by host TSC: errno %d", err))
		return false;

	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME;
	err = kvmclock_try_set(&kc, &data);
	if (!check(!err, "SET by wall time: errno %d", err))
		return false;

	got = kvmclock_get(&kc);
	error = (got.clock - data.clock) - (got.realtime - data.realtime);
	error = kvmclock_without(error, got.realtime - data.realtime, kvmclock_drift_ppb());
	kvmclock_measure("tsc_reset.restore", error, "ns");
	return check(got.flags == KVM_CLOCK_REALTIME, "flags 0x%x", got.flags) &
	       check(labs(error) <= 2, "%ld ns", error);
}

/* Goes on from where it was, less the time for which the host was suspended. */
static bool test_guest_tsc(int i)
{
	s64 passed = kvmclock_run(&kc, i, KVMCLOCK_RDTSC, 0, 0) - guest_tsc[i];
	s64 host_passed = (old_tsc - host_tsc[i]) + (rdtsc() - new_tsc);

	kvmclock_measure("tsc_reset.guest_tsc", passed, "cycles");
	return check(passed > 0, "vCPU %d: %ld", i, passed) &
	       check(passed <= host_passed, "vCPU %d: %ld, host %ld", i, passed, host_passed);
}

static bool test_tsc(void)
{
	/* Twice, because a TSC must be adjusted once only. */
	bool ok = test_guest_tsc(0) & test_guest_tsc(1) & test_guest_tsc(0);
	s64 apart = kvmclock_get_offset(kc.vcpu[1]) - kvmclock_get_offset(kc.vcpu[0]);

	return ok & check(!apart, "TSC offsets are %ld apart", apart);
}

/* The TSC is the host's clocksource again, but has not proved to be good for the VM. */
static bool test_for_good(void)
{
	u32 flags;

	kvmclock_settle(&kc);
	flags = kvmclock_get(&kc).flags;
	return check(!(flags & KVM_CLOCK_TSC_STABLE), "flags 0x%x", flags);
}

/* When the TSC is what it was, so that tests to come find no gap. */
static bool test_new_vm(void)
{
	struct kvmclock_vm other;
	u32 flags;

	set_clocksource(kvmclock_other_clocksource());
	move_host_tsc(old_tsc - new_tsc);
	set_clocksource("tsc");

	kvmclock_vm_create(&other, 0, NR_VCPUS, NR_VCPUS);
	flags = kvmclock_get(&other).flags;
	kvmclock_vm_destroy(&other);
	return check(flags == KVMCLOCK_MASTER_FLAGS, "flags 0x%x", flags);
}

/* ---- From master clock mode ---- */

#define NR_TRIES	5

#define HYPERV_PAGE	NR_VCPUS

static struct kvmclock_vm master;

static const struct kvmclock_tsc_page *tsc_page(void)
{
	return (void *)kvmclock_guest(&master, HYPERV_PAGE);
}

/* The host's time as of its last tick. */
static u64 tick_ns(void)
{
	return kvmclock_host_ns(CLOCK_MONOTONIC_COARSE);
}

/*
 * Between two ticks, move the TSC forward, load and put vCPU 1, which does not take it
 * to the guest, and move the TSC back.  If a tick comes in between after all, the host's
 * time stands still until the TSC is there again.
 */
static bool put_ahead(s64 cycles)
{
	u64 tick = tick_ns();
	struct kvm_regs regs;

	while (tick_ns() == tick)
		cpu_relax();

	tick = tick_ns();
	write_host_tsc(cycles);
	vcpu_regs_get(master.vcpu[1], &regs);
	move_host_tsc(-cycles);
	return tick_ns() == tick;
}

/* No vCPU may be loaded from here until the host is suspended. */
static bool run_ahead(void)
{
	int i;

	for (i = 0; i < NR_TRIES; i++) {
		if (put_ahead(RESET_S * kvmclock_host_khz() * 1000L))
			return true;
		sleep(RESET_S);
	}
	return false;
}

/* The premise. */
static bool test_master_reset(void)
{
	bool ok;

	kvmclock_hyperv_create(&master, 0, NR_VCPUS, HYPERV_PAGE);
	ok = check(run_ahead(), "a tick each time");
	before = kvmclock_get(&master);
	return ok & check(before.flags == KVMCLOCK_MASTER_FLAGS, "flags 0x%x", before.flags) &
	       check(tsc_page()->sequence, "Hyper-V's page is invalid") &
	       check(kvmclock_suspend_host("core"), "Cannot suspend");
}

static bool test_master_clock(void)
{
	struct kvm_clock_data after = kvmclock_get(&master);

	kvmclock_measure("tsc_reset.master_clock", after.clock - before.clock, "ns");
	return check(!(after.flags & KVM_CLOCK_TSC_STABLE), "flags 0x%x", after.flags) &
	       check(after.clock >= before.clock, "%lu ns, less than %lu", (u64)after.clock,
		     (u64)before.clock);
}

/* The first vCPU that enters the guest finds it invalid, and reads the counter. */
static bool test_master_hyperv(void)
{
	u64 low, ref, high;

	kvmclock_run(&master, 0, KVMCLOCK_NOP, 0, 0);
	if (!check(!tsc_page()->sequence, "sequence %u", tsc_page()->sequence))
		return false;

	low = kvmclock_get(&master).clock / 100;
	ref = kvmclock_run(&master, 0, KVMCLOCK_RDMSR, HV_X64_MSR_TIME_REF_COUNT, 0);
	high = kvmclock_get(&master).clock / 100;
	return check(ref >= low && ref <= high, "%lu is not from %lu to %lu", ref, low, high);
}

static bool test_master_for_good(void)
{
	u32 flags;
	bool ok;

	kvmclock_settle(&master);
	flags = kvmclock_get(&master).flags;
	ok = check(!(flags & KVM_CLOCK_TSC_STABLE), "flags 0x%x", flags) &
	     check(!tsc_page()->sequence, "sequence %u", tsc_page()->sequence);
	kvmclock_vm_destroy(&master);
	return ok;
}

static const char *no_hyperv(void)
{
	return kvm_has_cap(KVM_CAP_HYPERV_TIME) ? NULL : "no KVM_CAP_HYPERV_TIME";
}

static const struct kvmclock_test tests[] = {
	{ "reset", test_reset, .always = true },
	{ "clock", test_clock, .always = true },
	/* While no vCPU has run. */
	{ "restore", test_restore },
	{ "tsc", test_tsc, .always = true },
	{ "for_good", test_for_good, .always = true },
	{ "new_vm", test_new_vm, .always = true },
	{ "master_reset", test_master_reset, no_hyperv, true },
	{ "master_clock", test_master_clock, no_hyperv, true },
	{ "master_hyperv", test_master_hyperv, no_hyperv, true },
	{ "master_for_good", test_master_for_good, no_hyperv, true },
};

int main(void)
{
	int i;

	require_host();
	kvmclock_start(ARRAY_SIZE(tests), 0);
	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	saved = kvmclock_get(&kc);

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], KVM_CLOCK_GUEST_TSC, NULL);

	kvmclock_vm_destroy(&kc);
	kvmclock_finished();
}
