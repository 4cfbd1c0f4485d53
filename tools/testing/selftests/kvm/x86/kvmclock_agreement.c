// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that everything that tells the KVM clock tells the same.
 *
 * KVM_GET_CLOCK says which host TSC its values are for.  At that TSC the guest's
 * own line, in every vCPU's page, may differ from it by 1 ns at most, however
 * old the line is and whatever the scaling ratio.  The line runs at the true
 * frequency of the guest's TSC.  Clock, realtime and host TSC are of one
 * instant, on the way out as on the way in (KVM_CLOCK_REALTIME), and the wall
 * clock epoch that the guest reads is the difference of realtime and clock.
 */
#include "kvmclock.h"

#define NR_VCPUS	2
#define NR_SAMPLES	20

static const int ages_ms[] = { 0, 1000, 2000 };

#define NR_AGES		((int)ARRAY_SIZE(ages_ms))

static struct kvmclock_vm vms[KVMCLOCK_MAX_MODES];

static bool judge(struct kvmclock_series *series, const char *what, int mode, s64 low, s64 high)
{
	char key[96];

	snprintf(key, sizeof(key), "agreement.%s.%s", what, kvmclock_modes()[mode].name);
	return kvmclock_within(series, key, "ns", low, high);
}

static void measure(const char *what, int mode, s64 value, const char *unit)
{
	char key[96];

	snprintf(key, sizeof(key), "agreement.%s.%s", what, kvmclock_modes()[mode].name);
	kvmclock_measure(key, value, unit);
}

/* GET; a test during which it had other flags than the master clock's fails. */
static u32 missing_flags;

static struct kvm_clock_data get_master(struct kvmclock_vm *kc)
{
	struct kvm_clock_data data = kvmclock_get(kc);

	missing_flags |= KVMCLOCK_MASTER_FLAGS & ~data.flags;
	return data;
}

/* ---- GET and the guest's lines ---- */

/*
 * GET and the page round down the same value, from anchors that may differ in
 * their fractions of a nanosecond: 1 ns.
 */
#define GET_NS	1

static bool get_agrees(int mode, const char *what)
{
	struct kvmclock_vm *kc = &vms[mode];
	struct kvmclock_series diff = {};
	struct kvmclock_shot shot;
	int i, j;

	for (i = 0; i < NR_SAMPLES; i++) {
		struct kvm_clock_data data = get_master(kc);

		if (missing_flags)
			return false;
		kvmclock_shoot(kc, &shot);
		for (j = 0; j < kc->nr_vcpus; j++)
			kvmclock_record(&diff, data.clock - kvmclock_at(&shot, j, data.host_tsc));
	}
	return judge(&diff, what, mode, -GET_NS, GET_NS);
}

/* All VMs age together; each is read at every age. */
static bool get_ok[KVMCLOCK_MAX_MODES];

static void age_and_get(void)
{
	char what[32];
	int mode, age;

	memset(get_ok, true, sizeof(get_ok));
	for (age = 0; age < NR_AGES; age++) {
		usleep(ages_ms[age] * 1000);
		snprintf(what, sizeof(what), "get.age%dms", ages_ms[age]);
		for (mode = -1; kvmclock_next_mode(&mode);)
			if (!get_agrees(mode, what))
				get_ok[mode] = false;
	}
}

static bool test_get(int mode)
{
	return get_ok[mode];
}

static bool test_get_after_set(int mode)
{
	kvmclock_set(&vms[mode], 123456789012345, 0, 0);
	kvmclock_settle(&vms[mode]);
	return get_agrees(mode, "get_after_set");
}

/* ---- The line itself ---- */

/*
 * The guest's TSC runs at host_khz * 1000 * ratio / 2^frac_bits Hz; the line
 * takes it for 10^9 * 2^(32 - shift) / mul Hz.  As mul is a whole number of 32
 * bits with the highest one set, the line may be off by one unit of it, which
 * is 2^-31, half a millionth of a kHz in a GHz: 0.7 Hz at 1.5 GHz.
 */
static bool test_frequency(int mode)
{
	struct kvmclock_vm *kc = &vms[mode];
	struct pvclock_vcpu_time_info line;
	double true_hz, line_hz;

	kvmclock_snapshot(kc->page[0], &line);
	line_hz = 1e9 * (1ULL << 32) / line.tsc_to_system_mul;
	if (line.tsc_shift < 0)
		line_hz *= 1ULL << -line.tsc_shift;
	else
		line_hz /= 1ULL << line.tsc_shift;
	true_hz = kvmclock_host_khz() * 1e3 * kc->ratio / (1ULL << kvmclock_frac_bits());

	measure("frequency.line", mode, line_hz * 1e3, "mHz");
	measure("frequency.error", mode, (line_hz - true_hz) * 1e3, "mHz");
	measure("frequency.relative_error", mode, (line_hz / true_hz - 1) * 1e12, "ppt");
	return line_hz >= true_hz * (1 - 1.0 / line.tsc_to_system_mul) &&
	       line_hz <= true_hz * (1 + 1.0 / line.tsc_to_system_mul);
}

static bool vcpus_agree(int mode, const char *what)
{
	struct kvmclock_series diff = {};
	struct kvmclock_shot shot;
	u64 now;

	kvmclock_settle(&vms[mode]);
	kvmclock_shoot(&vms[mode], &shot);
	now = rdtsc();
	kvmclock_record(&diff, kvmclock_at(&shot, 1, now) - kvmclock_at(&shot, 0, now));
	return judge(&diff, what, mode, 0, 0);
}

static bool test_vcpus(int mode)
{
	return vcpus_agree(mode, "vcpus");
}

/* ---- One instant ---- */

/* Every value that GET returns is from between the call and the return. */
static bool test_get_bracketed(int mode)
{
	bool ok = true;
	int i;

	for (i = 0; i < NR_SAMPLES; i++) {
		u64 real = kvmclock_realtime(), tsc = rdtsc();
		struct kvm_clock_data data = get_master(&vms[mode]);

		ok &= data.host_tsc >= tsc && data.host_tsc <= rdtsc();
		ok &= data.realtime >= real && data.realtime <= kvmclock_realtime();
	}
	return ok;
}

/*
 * Realtime and clock advance alike from one GET to the next.  Both are rounded
 * down in both: their difference changes by less than 2 ns, and with scaling by
 * a cycle.
 */
static bool test_get_one_instant(int mode)
{
	struct kvm_clock_data last = get_master(&vms[mode]);
	s64 slack = kvmclock_cycle_ns(&vms[mode]);
	struct kvmclock_series diff = {};
	int i;

	for (i = 0; i < NR_SAMPLES; i++) {
		struct kvm_clock_data data = get_master(&vms[mode]);
		s64 change = (data.realtime - data.clock) - (last.realtime - last.clock);

		kvmclock_record(&diff, kvmclock_without_drift(change, last.host_tsc,
							      data.host_tsc));
		last = data;
	}
	return judge(&diff, "get_one_instant", mode, -1 - slack, 1 + slack);
}

/*
 * What was asked for is clock at realtime, so after the SET they are to differ
 * by what they differed by then.  Realtime is rounded down at the SET, realtime
 * and clock are at the GET: less than 2 ns below and 1 ns above, and with scaling
 * a cycle more.
 */
static s64 set_realtime_error(struct kvmclock_vm *kc)
{
	struct kvm_clock_data data = get_master(kc), now;

	data.realtime -= 10 * NSEC_PER_SEC;
	kvmclock_set(kc, data.clock, KVM_CLOCK_REALTIME, data.realtime);
	now = get_master(kc);
	return kvmclock_without_drift((now.clock - now.realtime) - (data.clock - data.realtime),
				      data.host_tsc, now.host_tsc);
}

static bool test_set_realtime(int mode)
{
	s64 slack = kvmclock_cycle_ns(&vms[mode]);
	struct kvmclock_series error = {};
	int i;

	for (i = 0; i < NR_SAMPLES; i++)
		kvmclock_record(&error, set_realtime_error(&vms[mode]));
	return judge(&error, "set_realtime", mode, -1 - slack, 1 + slack);
}

/* For the record: a VMM that hands GET's result to SET, a hundred times. */
static void measure_chain(int mode)
{
	struct kvm_clock_data first = get_master(&vms[mode]), data = first;
	int i;

	for (i = 0; i < 100; i++) {
		vm_ioctl(vms[mode].vm, KVM_SET_CLOCK, &data);
		data = get_master(&vms[mode]);
	}
	measure("get_set_100_times", mode,
		(data.clock - data.realtime) - (first.clock - first.realtime), "ns");
}

/* ---- The wall clock epoch ---- */

/* When the guest's clock was 0, by GET's realtime and the guest's own line. */
static s64 true_epoch(struct kvmclock_vm *kc)
{
	struct kvm_clock_data data = get_master(kc);
	struct kvmclock_shot shot;

	kvmclock_shoot(kc, &shot);
	return data.realtime - kvmclock_at(&shot, 0, data.host_tsc);
}

/*
 * Realtime follows NTP and the clock does not, so the epoch moves; but what the
 * guest is told is to lie between the epochs before and after, but for the
 * 1 ns that both realtime and the clock are rounded by, and a cycle with scaling.
 */
static s64 epoch_error(struct kvmclock_vm *kc)
{
	struct kvmclock_guest *guest = kvmclock_guest(kc, 0);
	s64 before, told, after, low, high;

	before = true_epoch(kc);
	kvmclock_run(kc, 0, KVMCLOCK_WRMSR, MSR_KVM_WALL_CLOCK_NEW,
		     addr_gva2gpa(kc->vm, kc->guest_gva[0]) +
		     offsetof(struct kvmclock_guest, wall));
	told = guest->wall.sec * NSEC_PER_SEC + guest->wall.nsec;
	after = true_epoch(kc);

	low = before < after ? before : after;
	high = before < after ? after : before;
	return told < low ? told - low : told > high ? told - high : 0;
}

static bool test_epoch(int mode)
{
	s64 slack = kvmclock_cycle_ns(&vms[mode]);
	struct kvmclock_series error = {};
	int i;

	for (i = 0; i < NR_SAMPLES; i++)
		kvmclock_record(&error, epoch_error(&vms[mode]));
	return judge(&error, "wall_clock", mode, -2 - slack, 2 + slack);
}

/* ---- A VM that is restored: the clock is set before there are vCPUs ---- */

/*
 * Without vCPUs the clock follows the host's, and goes on from there when there
 * is one.  Return by how much the line is not at the value set at any instant
 * during the call, but for 10 ns and the drift.
 */
static s64 set_first_error(u32 khz)
{
	u64 want = 123456789012345, before, after, ns;
	struct kvmclock_shot shot;
	struct kvmclock_vm kc;
	s64 error = 0;

	kvmclock_vm_init(&kc, khz, 1);
	before = rdtsc();
	kvmclock_set(&kc, want, 0, 0);
	after = rdtsc();
	kvmclock_vcpu_add(&kc);
	kvmclock_enable(&kc, 0, 0);
	kvmclock_shoot(&kc, &shot);
	kvmclock_vm_destroy(&kc);

	ns = kvmclock_at(&shot, 0, before);
	if ((s64)(ns - want) > 10)
		error = ns - want;
	ns = kvmclock_at(&shot, 0, after);
	if ((s64)(want - ns) > 10)
		error = ns - want;
	return kvmclock_without_drift(error, before, rdtsc());
}

static bool test_set_first(int mode)
{
	struct kvmclock_series error = {};
	/* A VM takes half a second to create on an emulated host. */
	int i, nr = mode ? 1 : 3;

	for (i = 0; i < nr; i++)
		kvmclock_record(&error, set_first_error(kvmclock_modes()[mode].khz));
	return judge(&error, "set_without_vcpu", mode, 0, 0);
}

/* ---- Differing TSC offsets, last, as they stay ---- */

static bool test_vcpus_differing(int mode)
{
	struct kvm_vcpu *vcpu = vms[mode].vcpu[1];

	kvmclock_set_offset(vcpu, kvmclock_get_offset(vcpu) - 12345678901);
	return vcpus_agree(mode, "vcpus_differing_offsets");
}

static bool test_get_differing(int mode)
{
	return get_agrees(mode, "get_differing_offsets");
}

static const struct {
	const char *name;
	bool (*run)(int mode);
} tests[] = {
	{ "get", test_get },
	{ "frequency", test_frequency },
	{ "vcpus", test_vcpus },
	{ "wall_clock", test_epoch },
	{ "get_bracketed", test_get_bracketed },
	{ "get_one_instant", test_get_one_instant },
	{ "set_realtime", test_set_realtime },
	{ "get_after_set", test_get_after_set },
	{ "set_without_vcpu", test_set_first },
	{ "vcpus_differing_offsets", test_vcpus_differing },
	{ "get_differing_offsets", test_get_differing },
};

static void run_tests(int mode)
{
	const char *name = kvmclock_modes()[mode].name;
	bool ok;
	int i;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		missing_flags = 0;
		ok = tests[i].run(mode);
		if (missing_flags)
			ksft_print_msg("GET does not have flags 0x%x\n", missing_flags);
		ksft_test_result(ok && !missing_flags, "%s %s\n", tests[i].name, name);
	}
}

int main(int argc, char *argv[])
{
	int mode;

	kvmclock_start(0, ARRAY_SIZE(tests));

	for (mode = -1; kvmclock_next_mode(&mode);)
		kvmclock_vm_create(&vms[mode], kvmclock_modes()[mode].khz, NR_VCPUS, NR_VCPUS);
	age_and_get();
	for (mode = -1; kvmclock_next_mode(&mode);) {
		measure_chain(mode);
		run_tests(mode);
		kvmclock_vm_destroy(&vms[mode]);
	}

	kvmclock_finished();
}
