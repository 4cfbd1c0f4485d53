// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that the guest's clock and KVM_GET_CLOCK agree, and run at the true rate,
 * whatever frequency user space asks of the guest's TSCs and whenever it does.
 *
 * A host that scales TSCs gives each vCPU the frequency that was asked for.  On
 * one that does not, a TSC that is to be faster than the host's is moved forward
 * at each entry, without a master clock; one that is to be slower is refused, or,
 * if it was asked of the VM before there was a vCPU to refuse it, runs at the
 * host's frequency.  What is refused changes nothing.
 */
#include "kvmclock.h"

#define NR_VCPUS	2
#define MAX_VCPUS	(NR_VCPUS + 1)

/*
 * In host clock mode, the clock is CLOCK_MONOTONIC_RAW, which the page's line
 * follows but for the rounding of the timekeeper's multiplier.
 */
#define HOST_CLOCK_NS	1000000

/* How long a line has to be right, and a rate to be seen. */
#define AGE_US		300000

static struct kvmclock_vm kc;

static u32 get_khz(int i)
{
	return __vcpu_ioctl(kc.vcpu[i], KVM_GET_TSC_KHZ, NULL);
}

/* KVM_SET_TSC_KHZ; returns 0 or errno. */
static int set_khz(int i, u32 khz)
{
	int ret = __vcpu_ioctl(kc.vcpu[i], KVM_SET_TSC_KHZ, (void *)(unsigned long)khz);

	if (!ret)
		kc.ratio = kvmclock_ratio(khz);
	return ret ? errno : 0;
}

/* GET less vCPU @i's line: at GET's TSC, or where that is not known, around it. */
static s64 line_error(int i)
{
	u64 low = rdtsc(), high;
	struct kvm_clock_data data = kvmclock_get(&kc);
	struct kvmclock_shot shot;

	high = rdtsc();
	if (data.flags & KVM_CLOCK_HOST_TSC) {
		low = data.host_tsc;
		high = data.host_tsc;
	}
	kvmclock_shoot(&kc, &shot);
	return kvmclock_outside(data.clock, kvmclock_at(&shot, i, low),
				kvmclock_at(&shot, i, high));
}

/* What vCPU @i reads, less the readings of GET before and after. */
static s64 reading_error(int i)
{
	u64 low = kvmclock_get(&kc).clock;
	u64 read = kvmclock_run(&kc, i, KVMCLOCK_READ, 0, 0);

	return kvmclock_outside(read, low, kvmclock_get(&kc).clock);
}

/* Lines as they are in the pages first, because readings may have them redrawn. */
static void record_errors(struct kvmclock_series *errors)
{
	int i;

	for (i = 0; i < kc.nr_vcpus; i++)
		kvmclock_record(errors, line_error(i));
	for (i = 0; i < kc.nr_vcpus; i++)
		kvmclock_record(errors, reading_error(i));
	for (i = 0; i < kc.nr_vcpus; i++)
		kvmclock_record(errors, line_error(i));
}

static s64 error_limit(void)
{
	return kvmclock_get(&kc).flags & KVM_CLOCK_HOST_TSC ? 1 : HOST_CLOCK_NS;
}

/* Young lines and old ones. */
static bool agree(const char *what)
{
	struct kvmclock_series errors = {};
	char key[96];

	record_errors(&errors);
	usleep(AGE_US);
	record_errors(&errors);

	snprintf(key, sizeof(key), "khz.%s.error", what);
	return kvmclock_within(&errors, key, "ns", -error_limit(), error_limit());
}

struct reading {
	u64 before, clock, after;
};

static struct reading read_clock(int i)
{
	struct reading reading = { .before = kvmclock_host_ns(CLOCK_MONOTONIC_RAW) };

	reading.clock = kvmclock_run(&kc, i, KVMCLOCK_READ, 0, 0);
	reading.after = kvmclock_host_ns(CLOCK_MONOTONIC_RAW);
	return reading;
}

/* The guest's clock against CLOCK_MONOTONIC_RAW: within 1000 ppm, and 1 ms. */
static bool true_rate(const char *what, int i)
{
	struct reading first, last;
	u64 least, most, slack;
	s64 error;
	char key[96];

	first = read_clock(i);
	usleep(AGE_US);
	last = read_clock(i);

	least = last.before - first.after;
	most = last.after - first.before;
	slack = most / 1000 + 1000000;
	error = kvmclock_outside(last.clock - first.clock, least, most);

	snprintf(key, sizeof(key), "khz.%s.rate_error", what);
	kvmclock_measure(key, error, "ns");
	return check(labs(error) <= slack, "%lu ns passed, from %lu to %lu by the host",
		     last.clock - first.clock, least, most);
}

/* ---- A frequency asked of the VM ---- */

static void create(u32 khz)
{
	kvmclock_vm_create(&kc, khz, NR_VCPUS, MAX_VCPUS);
}

static bool vcpus_have(u32 khz)
{
	bool ok = true;
	int i;

	for (i = 0; i < kc.nr_vcpus; i++)
		ok &= check(get_khz(i) == khz, "vCPU %d: %u kHz instead of %u", i, get_khz(i), khz);
	return ok;
}

static bool test_vm(const char *what, u64 percent)
{
	u32 host = kvmclock_host_khz(), khz = host * percent / 100;
	bool ok;

	create(khz);
	ok = vcpus_have(khz < host && !kvmclock_can_scale() ? host : khz);
	ok &= agree(what);
	ok &= true_rate(what, 0);
	ok &= true_rate(what, 1);
	kvmclock_vm_destroy(&kc);
	return ok;
}

static bool test_vm_plus_1_percent(void)
{
	return test_vm("vm_plus_1_percent", 101);
}

static bool test_vm_minus_1_percent(void)
{
	return test_vm("vm_minus_1_percent", 99);
}

static bool test_vm_double(void)
{
	return test_vm("vm_double", 200);
}

/* ---- A vCPU that catches up ---- */

static bool flags_are(u32 flags)
{
	u32 got = kvmclock_get(&kc).flags;

	return check(got == flags, "flags 0x%x instead of 0x%x", got, flags);
}

/*
 * No line is right for the TSC of a vCPU that catches up for long: the VM has the
 * host's clock for as long as there is one, and the master clock before and after.
 */
static bool test_catchup(void)
{
	bool ok;

	create(0);
	ok = flags_are(KVMCLOCK_MASTER_FLAGS);
	ok &= check(!set_khz(1, kvmclock_host_khz() * 2), "cannot double a vCPU's frequency");
	ok &= flags_are(0);
	ok &= agree("catchup");
	ok &= true_rate("catchup", 1);
	ok &= flags_are(0);

	ok &= check(!set_khz(1, kvmclock_host_khz()), "cannot set the frequency back");
	ok &= flags_are(KVMCLOCK_MASTER_FLAGS);
	kvmclock_settle(&kc);
	ok &= agree("catchup_ended");
	ok &= true_rate("catchup_ended", 1);
	kvmclock_vm_destroy(&kc);
	return ok;
}

static const char *can_scale(void)
{
	return kvmclock_can_scale() ? "TSCs are scaled on this host" : NULL;
}

/* ---- Another frequency in host clock mode ---- */

#define NR_TRIES	5

/* A frequency that is not the host's, and that vCPUs can have. */
static u32 other_khz(void)
{
	return kvmclock_can_scale() ? kvmclock_modes()[2].khz : kvmclock_host_khz() * 2;
}

static bool set_khz_all(u32 khz)
{
	bool ok = true;
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		ok &= check(!set_khz(i, khz), "cannot set %u kHz", khz);
	kvmclock_settle(&kc);
	return ok;
}

/*
 * Lines are drawn by two readings, of the host's clocksource and of its TSC; an
 * emulator may stop in between.  Half of them have to be right.
 */
static bool most_agree(const char *what, u32 khz)
{
	struct kvmclock_series errors = {};
	bool ok = true;
	char key[96];
	int try, i;

	for (try = 0; try < NR_TRIES; try++) {
		ok &= set_khz_all(kvmclock_host_khz());
		ok &= set_khz_all(khz);
		usleep(20000);
		for (i = 0; i < NR_VCPUS; i++)
			kvmclock_record(&errors, labs(line_error(i)));
		for (i = 0; i < NR_VCPUS; i++)
			kvmclock_record(&errors, labs(reading_error(i)));
	}

	snprintf(key, sizeof(key), "khz.%s.error", what);
	kvmclock_print(&errors, key, "ns");
	return ok && errors.value[errors.nr / 2] <= HOST_CLOCK_NS;
}

/* A vCPU that is loaded on another CPU would get a new line for that. */
static bool test_host_clock(void)
{
	char *tsc = sys_get_cur_clocksource();
	bool ok;

	create(0);
	pin_self_to_cpu(0);
	TEST_ASSERT(kvmclock_set_clocksource(kvmclock_other_clocksource()),
		    "Cannot change the clocksource");
	kvmclock_wait_flags(&kc, 0);
	kvmclock_settle(&kc);
	ok = flags_are(0);
	ok &= most_agree("host_clock", other_khz());
	ok &= set_khz_all(kvmclock_host_khz());
	TEST_ASSERT(kvmclock_set_clocksource(tsc), "Cannot switch to %s", tsc);
	free(tsc);
	kvmclock_wait_flags(&kc, KVMCLOCK_MASTER_FLAGS);
	kvmclock_settle(&kc);
	ok &= flags_are(KVMCLOCK_MASTER_FLAGS);
	ok &= agree("host_clock_ended");
	kvmclock_vm_destroy(&kc);
	return ok;
}

/* ---- A frequency that is refused ---- */

static u32 refused_khz(void)
{
	return kvmclock_can_scale() ? ~0U : kvmclock_host_khz() / 2;
}

/* vCPUs that are created or written now join the others. */
static bool offsets_match(void)
{
	u64 offset = kvmclock_get_offset(kc.vcpu[0]), got;
	bool ok = true;
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC, 0);
	kvmclock_vcpu_add(&kc);
	for (i = 0; i < kc.nr_vcpus; i++) {
		got = kvmclock_get_offset(kc.vcpu[i]);
		ok &= check(got == offset, "vCPU %d: offset %ld instead of %ld", i, (s64)got,
			    (s64)offset);
	}
	return ok;
}

static bool test_refused(void)
{
	struct kvmclock_state before;
	bool ok = true;
	int i, err;

	create(0);
	kvmclock_get_state(&kc, &before);
	for (i = 0; i < NR_VCPUS; i++) {
		err = set_khz(i, refused_khz());
		ok &= check(err == EINVAL, "%u kHz: errno %d", refused_khz(), err);
	}
	ok &= vcpus_have(kvmclock_host_khz());
	ok &= kvmclock_is_state(&kc, &before);
	ok &= flags_are(KVMCLOCK_MASTER_FLAGS);
	ok &= offsets_match();
	ok &= flags_are(KVMCLOCK_MASTER_FLAGS);
	kvmclock_vm_destroy(&kc);
	return ok;
}

static const struct kvmclock_test tests[] = {
	{ "vm_plus_1_percent", test_vm_plus_1_percent },
	{ "vm_minus_1_percent", test_vm_minus_1_percent },
	{ "vm_double", test_vm_double },
	{ "catchup", test_catchup, can_scale },
	{ "host_clock", test_host_clock, kvmclock_no_clocksource },
	{ "refused", test_refused },
};

int main(void)
{
	int i;

	kvmclock_start(ARRAY_SIZE(tests), 0);
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], 0, NULL);
	kvmclock_finished();
}
