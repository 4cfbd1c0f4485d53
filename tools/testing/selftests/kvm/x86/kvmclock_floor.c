// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that KVM_CLOCK_MONOTONIC keeps KVM_SET_CLOCK from setting the clock back.
 *
 * A value below what the guest may have read already, the floor, leaves the clock
 * as it is: the line that the guest computes with before and after the call is
 * the same but for 2 ns.  Without the flag the clock goes back by what was asked
 * for, because VMMs revert a VM to a snapshot that way.  As long as no vCPU has
 * entered the guest there is no floor.
 */
#include "hyperv.h"
#include "kvmclock.h"

#define NR_VCPUS	2
#define MAX_VCPUS	(NR_VCPUS + 1)

/* A line that is drawn anew may be above the one before, due to rounding. */
#define REDRAW_NS	2

/* How stale a value is.  Stopping for so long, a host would be noticed. */
#define STALE_NS	(1000 * NSEC_PER_SEC)

static struct kvmclock_vm kc;

static bool judge(s64 value, const char *what, s64 low, s64 high)
{
	char key[96];

	snprintf(key, sizeof(key), "floor.%s", what);
	kvmclock_measure(key, value, "ns");
	return check(value >= low && value <= high, "%s: %ld ns, not %ld to %ld", what, value,
		     low, high);
}

/* A value that the clock has long passed; MONOTONIC only where it is known. */
static struct kvm_clock_data stale(struct kvmclock_vm *vm, u32 flags)
{
	struct kvm_clock_data data = kvmclock_get(vm);

	data.clock -= STALE_NS;
	data.flags = flags & kvm_check_cap(KVM_CAP_ADJUST_CLOCK);
	return data;
}

/* Let the VM's clock be something that it can be set back from. */
static void start(struct kvmclock_vm *vm)
{
	kvmclock_opt_in(vm, 0);
	kvmclock_set(vm, 10000 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(vm);
}

/* The step of all vCPUs' lines that @data makes, or the worst of them. */
static s64 step_of(struct kvmclock_vm *vm, const struct kvm_clock_data *data)
{
	struct kvmclock_shot before, after;
	s64 step, worst = 0;
	u64 now;
	int i;

	kvmclock_shoot(vm, &before);
	check(!kvmclock_try_set(vm, data), "SET: errno %d", errno);
	kvmclock_settle(vm);
	kvmclock_shoot(vm, &after);
	now = rdtsc();
	for (i = 0; i < NR_VCPUS; i++) {
		step = kvmclock_step(&before, &after, i, now);
		if (labs(step) > labs(worst))
			worst = step;
	}
	return worst;
}

/* ---- Stale values ---- */

static bool test_stale_with_flag(void)
{
	struct kvm_clock_data data;

	start(&kc);
	data = stale(&kc, KVM_CLOCK_MONOTONIC);
	return judge(step_of(&kc, &data), "stale_with_flag", 0, REDRAW_NS);
}

/* The clock goes back to the value, and on by the time that the calls have taken. */
static bool goes_back(const struct kvm_clock_data *data, const char *what)
{
	s64 back = -STALE_NS, elapsed;
	u64 tsc = rdtsc();
	s64 step = step_of(&kc, data);

	elapsed = kvmclock_cycles_to_ns(rdtsc() - tsc) + NSEC_PER_SEC;
	return judge(step, what, back - elapsed, back + elapsed);
}

static bool test_stale_without_flag(void)
{
	struct kvm_clock_data data;

	start(&kc);
	data = stale(&kc, 0);
	return goes_back(&data, "stale_without_flag");
}

/* Each SET of a VM that asked for it is monotonic. */
static bool test_stale_opted_in(void)
{
	struct kvm_clock_data data;

	start(&kc);
	kvmclock_opt_in(&kc, KVM_CLOCK_MONOTONIC);
	data = stale(&kc, 0);
	return judge(step_of(&kc, &data), "stale_opted_in", 0, REDRAW_NS);
}

static bool test_stale_opted_out(void)
{
	struct kvm_clock_data data;

	start(&kc);
	kvmclock_opt_in(&kc, KVM_CLOCK_MONOTONIC);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	data = stale(&kc, 0);
	return goes_back(&data, "stale_opted_out");
}

/* Half of the staleness is made up for by the wall time that is added. */
static bool test_stale_realtime(void)
{
	struct kvm_clock_data data;

	start(&kc);
	data = stale(&kc, KVM_CLOCK_MONOTONIC | KVM_CLOCK_REALTIME);
	data.realtime = kvmclock_realtime() - STALE_NS / 2;
	return judge(step_of(&kc, &data), "stale_realtime", 0, REDRAW_NS);
}

/* 2^64 - 1 counts as a high value, not as one below 0. */
static bool test_edges(void)
{
	struct kvm_clock_data zero = { .flags = KVM_CLOCK_MONOTONIC };
	struct kvm_clock_data high = { .flags = KVM_CLOCK_MONOTONIC, .clock = (1UL << 63) };
	s64 step;

	start(&kc);
	step = step_of(&kc, &zero);
	check(!kvmclock_try_set(&kc, &high), "SET: errno %d", errno);
	kvmclock_settle(&kc);
	return judge(step, "zero", 0, REDRAW_NS) &
	       check(kvmclock_get(&kc).clock >= high.clock, "%lu, not above 2^63",
		     (u64)kvmclock_get(&kc).clock);
}

/* The flag does nothing to a value that is ahead. */
static bool test_ahead(void)
{
	struct kvmclock_shot shot;
	u64 before, after, want;
	int i;
	bool ok = true;

	start(&kc);
	want = kvmclock_get(&kc).clock + STALE_NS;
	before = rdtsc();
	kvmclock_set(&kc, want, KVM_CLOCK_MONOTONIC, 0);
	after = rdtsc();
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &shot);
	for (i = 0; i < NR_VCPUS; i++)
		ok &= check((s64)(kvmclock_at(&shot, i, before) - want) <= 0 &&
			    (s64)(kvmclock_at(&shot, i, after) - want) >= 0,
			    "vCPU %d: %ld to %ld ns off", i,
			    (s64)(kvmclock_at(&shot, i, before) - want),
			    (s64)(kvmclock_at(&shot, i, after) - want));
	return ok;
}

/* A thousand in a row: what each adds by rounding must not add up to something. */
static bool test_many(void)
{
	struct kvmclock_shot before, after;
	struct kvm_clock_data data;
	int i;

	start(&kc);
	kvmclock_shoot(&kc, &before);
	for (i = 0; i < 1000; i++) {
		data = stale(&kc, KVM_CLOCK_MONOTONIC);
		kvmclock_try_set(&kc, &data);
	}
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &after);
	return judge(kvmclock_step(&before, &after, 0, rdtsc()), "many", 0, REDRAW_NS);
}

/*
 * ---- The TSC, which has no floor ----
 *
 * The line that is restored is nowhere below the one before.  It is raised for what
 * rounding may cost from another anchor, and above that by what it does not cost.
 */

static bool restores(u32 flags, const char *what)
{
	struct kvm_clock_data data;
	struct kvmclock_shot after;
	char key[64];
	s64 step, high;

	start(&kc);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	data = stale(&kc, flags | KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC);
	data.guest_tsc -= 1UL << 40;
	data.realtime = -1UL;
	step = step_of(&kc, &data);
	kvmclock_shoot(&kc, &after);
	high = REDRAW_NS + kvmclock_rounding_ns(&after.line[0]);

	snprintf(key, sizeof(key), "%s.tsc", what);
	return judge(step, what, 0, high) &
	       (!(flags & KVM_CLOCK_HOST_TSC) ||
		judge(kvmclock_tsc_at(&after, 0, data.host_tsc) - data.guest_tsc, key, 0, 0));
}

/* The TSC moves as asked, the line is above what was asked for by a constant. */
static bool test_restore_host_tsc(void)
{
	return restores(KVM_CLOCK_HOST_TSC, "restore_host_tsc");
}

/* Here, the TSC moves back, to about where it was asked to be when it was called. */
static bool test_restore_realtime(void)
{
	u64 before = kvmclock_get_offset(kc.vcpu[0]);
	bool ok = restores(KVM_CLOCK_REALTIME, "restore_realtime");
	s64 moved = before - kvmclock_get_offset(kc.vcpu[0]);

	return ok & check(moved >= 1L << 40, "the TSC moved back by %ld", moved);
}

/* Without a TSC that moves, nothing has to happen. */
static bool test_restore_none(void)
{
	u64 before = kvmclock_get_offset(kc.vcpu[0]);
	struct kvm_clock_data data;

	start(&kc);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	data = stale(&kc, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC);
	return judge(step_of(&kc, &data), "restore_none", 0, REDRAW_NS) &
	       check(kvmclock_get_offset(kc.vcpu[0]) == before, "the TSC moved");
}

/* The rate is another, too: it makes the line, and the floor does not change that. */
static bool test_restore_rate(void)
{
	struct pvclock_vcpu_time_info line;
	struct kvm_clock_data data;
	struct kvmclock_shot shot;
	s64 step;

	start(&kc);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	kvmclock_snapshot(kc.page[0], &line);
	data = stale(&kc, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC | KVM_CLOCK_HOST_TSC);
	data.tsc_to_system_mul -= (u64)data.tsc_to_system_mul * 200 / 1000000;
	step = step_of(&kc, &data);
	kvmclock_shoot(&kc, &shot);
	return judge(step, "restore_rate", 0, REDRAW_NS) &
	       check(shot.line[0].tsc_to_system_mul == line.tsc_to_system_mul, "mul %u, not %u",
		     shot.line[0].tsc_to_system_mul, line.tsc_to_system_mul);
}

/* For VMMs that know nothing of the flag: kvm.clock_monotonic. */
#define PARAMETER	"/sys/module/kvm/parameters/clock_monotonic"

static const char *no_parameter(void)
{
	return access(PARAMETER, W_OK) ? PARAMETER " is not there, or not ours to write" : NULL;
}

static bool test_parameter(void)
{
	struct kvm_clock_data data;
	s64 with, without;

	start(&kc);
	data = stale(&kc, 0);
	TEST_ASSERT(kvmclock_sysfs_write(PARAMETER, "Y"), PARAMETER ": errno %d", errno);
	with = step_of(&kc, &data);
	TEST_ASSERT(kvmclock_sysfs_write(PARAMETER, "N"), PARAMETER ": errno %d", errno);
	without = step_of(&kc, &data);
	return judge(with, "parameter", 0, REDRAW_NS) &
	       check(without < -(s64)NSEC_PER_SEC, "off, but it goes back by %ld", without);
}

/* ---- What makes the floor ---- */

/* A VM whose guest has read nothing yet. */
static void fresh_vm(struct kvmclock_vm *vm)
{
	int i;

	kvmclock_vm_init(vm, 0, MAX_VCPUS);
	for (i = 0; i < NR_VCPUS; i++)
		vcpu_set_hv_cpuid(vm->vcpu[kvmclock_vcpu_add(vm)]);
}

static bool set_is_at(struct kvmclock_vm *vm, u64 want)
{
	u64 tsc = rdtsc(), most, now;

	kvmclock_set(vm, want, KVM_CLOCK_MONOTONIC & kvm_check_cap(KVM_CAP_ADJUST_CLOCK), 0);
	now = kvmclock_get(vm).clock;
	most = want + kvmclock_cycles_to_ns(rdtsc() - tsc) + 1000;
	return check(now >= want && now <= most, "clock is %lu, not %lu to %lu", now, want, most);
}

/*
 * As long as no vCPU has entered the guest, the clock may be set to anything; user
 * space may well have read it.  Once one has, and @read it, the clock goes on.
 */
static bool sets_floor(void (*read)(struct kvmclock_vm *vm), const char *what)
{
	struct kvmclock_vm vm;
	u64 before, after;
	bool ok;

	fresh_vm(&vm);
	ok = set_is_at(&vm, 1000 * NSEC_PER_SEC);
	ok &= set_is_at(&vm, 100 * NSEC_PER_SEC);

	read(&vm);
	before = kvmclock_get(&vm).clock;
	kvmclock_set(&vm, 80 * NSEC_PER_SEC, KVM_CLOCK_MONOTONIC, 0);
	after = kvmclock_get(&vm).clock;
	kvmclock_vm_destroy(&vm);
	return ok & judge((s64)(after - before) < 0 ? (s64)(after - before) : 0, what, 0, 0);
}

static void read_kvmclock(struct kvmclock_vm *vm)
{
	kvmclock_enable(vm, 1, 0);
	kvmclock_run(vm, 1, KVMCLOCK_READ, 0, 0);
}

static void read_hyperv_counter(struct kvmclock_vm *vm)
{
	kvmclock_run(vm, 0, KVMCLOCK_WRMSR, HV_X64_MSR_GUEST_OS_ID, HYPERV_LINUX_OS_ID);
	kvmclock_run(vm, 0, KVMCLOCK_RDMSR, HV_X64_MSR_TIME_REF_COUNT, 0);
}

static gpa_t spare_page(struct kvmclock_vm *vm)
{
	return addr_gva2gpa(vm->vm, vm->guest_gva[MAX_VCPUS - 1]);
}

static void read_hyperv_page(struct kvmclock_vm *vm)
{
	kvmclock_run(vm, 0, KVMCLOCK_WRMSR, HV_X64_MSR_GUEST_OS_ID, HYPERV_LINUX_OS_ID);
	kvmclock_run(vm, 0, KVMCLOCK_WRMSR, HV_X64_MSR_REFERENCE_TSC, spare_page(vm) | 1);
	kvmclock_settle(vm);
}

static void read_xen(struct kvmclock_vm *vm)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
		.msr = 0x40000200,
	};
	struct kvm_xen_vcpu_attr attr = {
		.type = KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO,
		.u.gpa = spare_page(vm),
	};

	vm_ioctl(vm->vm, KVM_XEN_HVM_CONFIG, &config);
	vcpu_ioctl(vm->vcpu[0], KVM_XEN_VCPU_SET_ATTR, &attr);
	kvmclock_settle(vm);
}

static bool test_floor_kvmclock(void)
{
	return sets_floor(read_kvmclock, "floor_kvmclock");
}

static bool test_floor_hyperv_counter(void)
{
	return sets_floor(read_hyperv_counter, "floor_hyperv_counter");
}

static bool test_floor_hyperv_page(void)
{
	return sets_floor(read_hyperv_page, "floor_hyperv_page");
}

static bool test_floor_xen(void)
{
	return sets_floor(read_xen, "floor_xen");
}

static const char *no_hyperv(void)
{
	return kvm_has_cap(KVM_CAP_HYPERV_TIME) ? NULL : "no KVM_CAP_HYPERV_TIME";
}

static const char *no_xen(void)
{
	int caps = kvm_check_cap(KVM_CAP_XEN_HVM);

	return caps & KVM_XEN_HVM_CONFIG_SHARED_INFO ? NULL : "no KVM_CAP_XEN_HVM";
}

/* ---- Host clock mode, and the way there and back ---- */

static u64 reading(int i)
{
	return kvmclock_run(&kc, i, KVMCLOCK_READ, 0, 0);
}

/*
 * A stale SET between two readings of different vCPUs, which have a line each.
 * Return by how much the second one is below the first one.
 */
static s64 back_by_set(void)
{
	struct kvm_clock_data data = stale(&kc, KVM_CLOCK_MONOTONIC);
	u64 before = reading(0), after;

	kvmclock_try_set(&kc, &data);
	after = reading(1);
	return (s64)(after - before) < 0 ? (s64)(after - before) : 0;
}

static bool test_host_clock(void)
{
	s64 worst = 0, back;
	bool ok;
	int i;

	start(&kc);
	kvmclock_set_master(&kc, false);
	ok = check(kvmclock_get(&kc).flags == 0, "master clock");
	for (i = 0; i < 20; i++) {
		back = back_by_set();
		worst = back < worst ? back : worst;
	}
	kvmclock_set_master(&kc, true);
	return judge(worst, "host_clock", 0, 0) & ok;
}

/*
 * A vCPU's own line does not run at the rate of the host's clock exactly.  Where it
 * has come to be ahead of it, it is the floor.
 */
static bool test_host_clock_lines(void)
{
	struct pvclock_vcpu_time_info line;
	struct kvm_clock_data data;
	s64 step;

	start(&kc);
	pin_self_to_cpu(0);
	kvmclock_set_master(&kc, false);
	kvmclock_snapshot(kc.page[0], &line);
	usleep(1500000);
	data = stale(&kc, KVM_CLOCK_MONOTONIC);
	step = step_of(&kc, &data);
	kvmclock_set_master(&kc, true);
	return judge(step, "host_clock_lines", -kvmclock_rounding_ns(&line), 1000000);
}

/* Without the flag, this would be where the clock goes back in that mode. */
static bool test_host_clock_without_flag(void)
{
	u64 before, after;
	struct kvm_clock_data data;

	start(&kc);
	kvmclock_set_master(&kc, false);
	data = stale(&kc, 0);
	before = reading(0);
	kvmclock_try_set(&kc, &data);
	after = reading(1);
	kvmclock_set_master(&kc, true);
	return check((s64)(before - after) > (s64)STALE_NS / 2, "back by %ld ns only",
		     (s64)(before - after));
}

/* A floor that was made in one mode counts in the other one. */
static bool test_mode_changes(void)
{
	struct kvm_clock_data data;
	s64 worst = 0, back;
	u64 last, now;
	int i;

	start(&kc);
	last = reading(0);
	for (i = 0; i < 10; i++) {
		data = stale(&kc, KVM_CLOCK_MONOTONIC);
		kvmclock_set_master(&kc, i & 1);
		kvmclock_try_set(&kc, &data);
		now = reading(i & 1);
		back = now - last;
		worst = back < worst ? back : worst;
		last = now;
	}
	kvmclock_set_master(&kc, true);
	return judge(worst, "mode_changes", 0, 0);
}

/* ---- Against vCPUs that read, and each other ---- */

#define NR_SETTERS	3
#define NR_RACES	150

static void *set_stale(void *arg)
{
	static const u32 flags[NR_SETTERS] = {
		KVM_CLOCK_MONOTONIC,
		KVM_CLOCK_MONOTONIC | KVM_CLOCK_REALTIME,
		KVM_CLOCK_MONOTONIC | KVM_CLOCK_GUEST_TSC,
	};
	struct kvm_clock_data data;
	long nr = (long)arg;
	int i;

	for (i = 0; i < NR_RACES; i++) {
		data = stale(&kc, flags[nr]);
		/* By anything from 1 ns to 9 minutes, or not even stale when read. */
		data.clock += STALE_NS + 1000 - (1UL << (random() % 40));
		kvmclock_try_set(&kc, &data);
	}
	return NULL;
}

static bool test_race(void)
{
	struct kvmclock_thread readers[NR_VCPUS];
	pthread_t setters[NR_SETTERS];
	bool ok = true;
	long i;

	start(&kc);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	for (i = 0; i < NR_VCPUS; i++) {
		kvmclock_set_code(&kc, i, kvmclock_guest_reader);
		kvmclock_thread_start(&readers[i], kc.vcpu[i]);
	}
	for (i = 0; i < NR_SETTERS; i++)
		kvm_pthread_create(&setters[i], NULL, set_stale, (void *)i);
	for (i = 0; i < NR_SETTERS; i++)
		kvm_pthread_join(setters[i], NULL);
	for (i = 0; i < NR_VCPUS; i++) {
		kvmclock_thread_stop(&readers[i]);
		ok &= judge(-kvmclock_guest(&kc, i)->ret, "race", 0, 0);
		ok &= check(kvmclock_guest(&kc, i)->arg[0], "vCPU %ld has not read", i);
		kvmclock_set_code(&kc, i, kvmclock_guest_main);
	}
	return ok;
}

/* ---- Statistics ---- */

static u64 stat(const char *name)
{
	u64 value = 0;

	if (!kvmclock_stat(&kc, name, &value))
		check(false, "no statistic %s", name);
	return value;
}

/* Raise the clock by @ns, and by what passes until SET; return that. */
static u64 raise_by(u64 ns)
{
	u64 tsc = rdtsc();
	struct kvm_clock_data data = kvmclock_get(&kc);

	data.clock -= ns;
	data.flags = KVM_CLOCK_MONOTONIC;
	check(!kvmclock_try_set(&kc, &data), "SET: errno %d", errno);
	return kvmclock_cycles_to_ns(rdtsc() - tsc) + 1000;
}

/* The peak is that of the VM's whole life. */
static bool test_stats(void)
{
	const u64 high = 70000 * NSEC_PER_SEC, low = 50000 * NSEC_PER_SEC;
	u64 raised, reanchors, first, second, most;

	start(&kc);
	kvmclock_set(&kc, 2 * high, 0, 0);
	raised = stat("clock_raised");
	most = high + raise_by(high);
	first = stat("clock_raised_max_ns");
	reanchors = stat("clock_reanchors");
	raise_by(low);
	raise_by(low);
	reanchors = stat("clock_reanchors") - reanchors;
	second = stat("clock_raised_max_ns");
	raised = stat("clock_raised") - raised;
	return check(raised == 3, "%lu times", raised) &
	       check(first >= high && first <= most, "%lu, not %lu to %lu", first, high, most) &
	       check(second == first, "%lu after %lu", second, first) &
	       check(reanchors == 0, "redrawn %lu times though it runs on", reanchors);
}

/* Values that are not below the floor, or without flag, are not counted. */
static bool test_stats_not_raised(void)
{
	struct kvm_clock_data data;
	u64 raised, peak;

	start(&kc);
	raised = stat("clock_raised");
	peak = stat("clock_raised_max_ns");
	data = stale(&kc, 0);
	kvmclock_try_set(&kc, &data);
	kvmclock_set(&kc, 20000 * NSEC_PER_SEC, KVM_CLOCK_MONOTONIC, 0);
	kvmclock_settle(&kc);
	return check(stat("clock_raised") == raised, "counts %lu",
		     stat("clock_raised") - raised) &
	       check(stat("clock_raised_max_ns") == peak, "%lu", stat("clock_raised_max_ns"));
}

static const struct kvmclock_test tests[] = {
	{ "stale_with_flag", test_stale_with_flag, .always = true },
	{ "stale_without_flag", test_stale_without_flag, .always = true },
	{ "stale_opted_in", test_stale_opted_in },
	{ "stale_opted_out", test_stale_opted_out },
	{ "stale_realtime", test_stale_realtime },
	{ "edges", test_edges },
	{ "ahead", test_ahead },
	{ "many", test_many },
	{ "restore_host_tsc", test_restore_host_tsc },
	{ "restore_realtime", test_restore_realtime },
	{ "restore_none", test_restore_none },
	{ "restore_rate", test_restore_rate },
	{ "parameter", test_parameter, no_parameter },
	{ "floor_kvmclock", test_floor_kvmclock },
	{ "floor_hyperv_counter", test_floor_hyperv_counter, no_hyperv },
	{ "floor_hyperv_page", test_floor_hyperv_page, no_hyperv },
	{ "floor_xen", test_floor_xen, no_xen },
	{ "host_clock", test_host_clock, .always = true },
	{ "host_clock_lines", test_host_clock_lines },
	{ "host_clock_without_flag", test_host_clock_without_flag, .always = true },
	{ "mode_changes", test_mode_changes },
	{ "race", test_race },
	{ "stats", test_stats },
	{ "stats_not_raised", test_stats_not_raised },
};

int main(void)
{
	int i;

	kvmclock_start(ARRAY_SIZE(tests), 0);
	srandom(1);
	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC, NULL);

	kvmclock_vm_destroy(&kc);
	kvmclock_finished();
}
