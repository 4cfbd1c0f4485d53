// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that nothing KVM does makes the guest's clock step.
 *
 * The line of every vCPU is taken before and after an event and both are
 * evaluated at the same host TSC.  A line is to be extended, never redrawn, so
 * after an event that is no cause for another line the difference is 0 ns, at
 * any age of the line, at any scaling ratio.  After an event that is a cause
 * (the frequency changes, the master clock stops or starts), rounding may add
 * up to 2 ns, and nothing may ever be lost.  While the master clock is stopped,
 * the clock is the host's, which may be faster.  After KVM_SET_CLOCK the line is
 * at the value that was asked for.
 *
 * There are VMs for every TSC frequency, which all age together.  Events that do
 * no harm on any KVM share one; events that some KVM has answered with a new
 * line, one that is young again, have one each.
 */
#include <pthread.h>
#include <sched.h>

#include "kvmclock.h"

#define NR_VCPUS	2
#define MAX_VCPUS	(NR_VCPUS + NR_ROUNDS + 1)

/* Re-anchoring rounds up: pvclock(a) + pvclock(b) may be below pvclock(a + b). */
#define REDRAW_NS	2

/* How old a line is in each round, in ms, at least. */
static const int round_age_ms[] = { 20, 20, 1000, 1000 };

#define NR_ROUNDS	((int)ARRAY_SIZE(round_age_ms))

/* How many events in random order. */
static int nr_random = 40;

/* Far enough for a wrong frequency to show, in host TSC cycles: about an hour. */
static u64 far_cycles(void)
{
	return kvmclock_host_khz() * 1000UL * 3600;
}

/* ---- Events ---- */

static void add_msr(struct kvmclock_vm *kc, u32 msr, u64 value)
{
	int i;

	for (i = 0; i < kc->nr_vcpus; i++)
		kvmclock_run(kc, i, KVMCLOCK_ADD_MSR, msr, value);
}

static void nothing(struct kvmclock_vm *kc)
{
}

static void get_clock(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < 100; i++)
		kvmclock_get(kc);
}

static void get_msrs(struct kvmclock_vm *kc)
{
	static const u32 msrs[] = {
		MSR_IA32_TSC, MSR_IA32_TSC_ADJUST, MSR_KVM_SYSTEM_TIME,
		MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_WALL_CLOCK_NEW,
	};
	int i, j;

	for (i = 0; i < kc->nr_vcpus; i++)
		for (j = 0; j < ARRAY_SIZE(msrs); j++)
			vcpu_get_msr(kc->vcpu[i], msrs[j]);
}

/* On the boot vCPU, this one stops the master clock... */
static void system_time_old(struct kvmclock_vm *kc)
{
	kvmclock_run(kc, 0, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME,
		     kvmclock_time_gpa(kc, 0, 0) | KVM_MSR_ENABLED);
}

/* ...and this one starts it. */
static void system_time_new(struct kvmclock_vm *kc)
{
	kvmclock_enable(kc, 0, 0);
}

static void system_time_old_new_vcpu1(struct kvmclock_vm *kc)
{
	kvmclock_run(kc, 1, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME,
		     kvmclock_time_gpa(kc, 1, 0) | KVM_MSR_ENABLED);
	kvmclock_enable(kc, 1, 0);
}

static void system_time_old_new_host(struct kvmclock_vm *kc)
{
	int slot = kc->page[0] != kvmclock_guest(kc, 0)->time;
	u64 value = kvmclock_time_gpa(kc, 0, slot) | KVM_MSR_ENABLED;

	vcpu_set_msr(kc->vcpu[0], MSR_KVM_SYSTEM_TIME, value);
	kvmclock_run(kc, 0, KVMCLOCK_NOP, 0, 0);
	vcpu_set_msr(kc->vcpu[0], MSR_KVM_SYSTEM_TIME_NEW, value);
}

static void page_reenabled(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_run(kc, i, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW, 0);
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_enable(kc, i, 0);
}

static void page_moved(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_enable(kc, i, kc->page[i] == kvmclock_guest(kc, i)->time);
}

static void wall_clock(struct kvmclock_vm *kc)
{
	kvmclock_run(kc, 0, KVMCLOCK_WRMSR, MSR_KVM_WALL_CLOCK_NEW,
		     addr_gva2gpa(kc->vm, kc->guest_gva[0]) +
		     offsetof(struct kvmclock_guest, wall));
}

/* One more 2^40 than now: no attempt to synchronise, so a new generation. */
static void new_generation(struct kvmclock_vm *kc)
{
	u64 tsc = vcpu_get_msr(kc->vcpu[0], MSR_IA32_TSC) + (1UL << 40);
	int i;

	for (i = 0; i < kc->nr_vcpus; i++)
		vcpu_set_msr(kc->vcpu[i], MSR_IA32_TSC, tsc);
}

/* A restored VM: each vCPU's TSC written with what it was, synchronised by KVM. */
static void tsc_written_back(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < kc->nr_vcpus; i++)
		vcpu_set_msr(kc->vcpu[i], MSR_IA32_TSC,
			     vcpu_get_msr(kc->vcpu[i], MSR_IA32_TSC));
}

static void tsc_zero(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < kc->nr_vcpus; i++)
		vcpu_set_msr(kc->vcpu[i], MSR_IA32_TSC, 0);
}

static void guest_tsc(struct kvmclock_vm *kc)
{
	add_msr(kc, MSR_IA32_TSC, 1UL << 36);
}

static void guest_tsc_adjust(struct kvmclock_vm *kc)
{
	add_msr(kc, MSR_IA32_TSC_ADJUST, 1UL << 36);
}

static void host_tsc_adjust(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < kc->nr_vcpus; i++)
		vcpu_set_msr(kc->vcpu[i], MSR_IA32_TSC_ADJUST, 1UL << 36);
}

static void add_offset(struct kvmclock_vm *kc, u64 cycles)
{
	u64 offset = kvmclock_get_offset(kc->vcpu[0]) + cycles;
	int i;

	for (i = 0; i < kc->nr_vcpus; i++)
		kvmclock_set_offset(kc->vcpu[i], offset);
}

static void tsc_offset_same(struct kvmclock_vm *kc)
{
	add_offset(kc, 0);
}

static void tsc_offset_plus_1(struct kvmclock_vm *kc)
{
	add_offset(kc, 1);
}

static void tsc_offset_one_vcpu(struct kvmclock_vm *kc)
{
	kvmclock_set_offset(kc->vcpu[1], kvmclock_get_offset(kc->vcpu[1]) + (1UL << 36));
}

static void vcpu_created(struct kvmclock_vm *kc)
{
	kvmclock_vcpu_add(kc);
}

static void set_tsc_khz_same(struct kvmclock_vm *kc)
{
	int i, khz;

	for (i = 0; i < NR_VCPUS; i++) {
		khz = __vcpu_ioctl(kc->vcpu[i], KVM_GET_TSC_KHZ, NULL);
		vcpu_ioctl(kc->vcpu[i], KVM_SET_TSC_KHZ, (void *)(unsigned long)khz);
	}
}

static void kvmclock_ctrl(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		vcpu_ioctl(kc->vcpu[i], KVM_KVMCLOCK_CTRL, NULL);
}

static void migrate(struct kvmclock_vm *kc)
{
	int cpu;

	for (cpu = 1; cpu >= 0; cpu--) {
		pin_self_to_cpu(cpu);
		kvmclock_settle(kc);
	}
}

static const char *no_cpu1(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) > 1 ? NULL : "this host has one CPU";
}

/* The page of a vCPU that is never created holds Hyper-V's or Xen's structures. */
static gpa_t spare_page(struct kvmclock_vm *kc)
{
	return addr_gva2gpa(kc->vm, kc->guest_gva[MAX_VCPUS - 1]);
}

static void hyperv_page(struct kvmclock_vm *kc)
{
	vcpu_set_msr(kc->vcpu[0], HV_X64_MSR_REFERENCE_TSC, 0);
	vcpu_set_msr(kc->vcpu[0], HV_X64_MSR_REFERENCE_TSC, spare_page(kc) | 1);
	kc->tsc_page = addr_gpa2hva(kc->vm, spare_page(kc));
}

static void hyperv_page_prepare(struct kvmclock_vm *kc)
{
	vcpu_set_msr(kc->vcpu[0], HV_X64_MSR_GUEST_OS_ID, HYPERV_LINUX_OS_ID);
}

static const char *no_hyperv(void)
{
	return kvm_has_cap(KVM_CAP_HYPERV_TIME) ? NULL : "no KVM_CAP_HYPERV_TIME";
}

static void xen_config(struct kvmclock_vm *kc, u32 flags)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL | flags,
		.msr = 0x40000200,
	};

	vm_ioctl(kc->vm, KVM_XEN_HVM_CONFIG, &config);
}

static void xen_prepare(struct kvmclock_vm *kc)
{
	xen_config(kc, 0);
}

static void xen_attr(struct kvmclock_vm *kc, int i, u16 type, u64 gpa)
{
	struct kvm_xen_vcpu_attr attr = { .type = type, .u.gpa = gpa };

	vcpu_ioctl(kc->vcpu[i], KVM_XEN_VCPU_SET_ATTR, &attr);
}

static void xen_vcpu_info(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		xen_attr(kc, i, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, KVM_XEN_INVALID_GPA);
		xen_attr(kc, i, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, spare_page(kc) + 2048 + 128 * i);
	}
}

static void xen_time_info(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		xen_attr(kc, i, KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO, KVM_XEN_INVALID_GPA);
		xen_attr(kc, i, KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO,
			 spare_page(kc) + 3072 + 128 * i);
	}
	kc->xen_page = addr_gpa2hva(kc->vm, spare_page(kc) + 3072);
}

static void xen_tsc_unstable(struct kvmclock_vm *kc)
{
	xen_config(kc, KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE);
	kvmclock_settle(kc);
	xen_config(kc, 0);
}

static const char *no_xen(void)
{
	int caps = kvm_check_cap(KVM_CAP_XEN_HVM);

	return caps & KVM_XEN_HVM_CONFIG_SHARED_INFO ? NULL : "no KVM_CAP_XEN_HVM";
}

static const char *no_xen_tsc_unstable(void)
{
	int caps = kvm_check_cap(KVM_CAP_XEN_HVM);

	return caps & KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE ? NULL :
	       "no KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE";
}

static const struct event {
	const char *name;
	void (*fire)(struct kvmclock_vm *kc);
	/* What @fire stops is the master clock, and what starts it again. */
	void (*restart)(struct kvmclock_vm *kc);
	const char *(*missing)(void);
	void (*prepare)(struct kvmclock_vm *kc);
	bool own_vm;
} events[] = {
	{ "nothing", nothing },
	{ "get_clock", get_clock },
	{ "get_msrs", get_msrs },
	{ "system_time_old_new_vcpu1", system_time_old_new_vcpu1 },
	{ "system_time_old_new_host", system_time_old_new_host },
	{ "page_reenabled", page_reenabled },
	{ "page_moved", page_moved },
	{ "wall_clock", wall_clock },
	{ "guest_tsc_adjust", guest_tsc_adjust },
	{ "host_tsc_adjust", host_tsc_adjust },
	{ "tsc_zero", tsc_zero },
	{ "tsc_written_back", tsc_written_back },
	{ "tsc_offset_same", tsc_offset_same },
	{ "vcpu_created", vcpu_created },
	{ "set_tsc_khz_same", set_tsc_khz_same },
	{ "kvmclock_ctrl", kvmclock_ctrl },
	{ "migrate", migrate, .missing = no_cpu1 },
	{ "xen_vcpu_info", xen_vcpu_info, .missing = no_xen, .prepare = xen_prepare },
	{ "xen_time_info", xen_time_info, .missing = no_xen, .prepare = xen_prepare },
	{ "xen_tsc_unstable", xen_tsc_unstable, .missing = no_xen_tsc_unstable,
	  .prepare = xen_prepare },
	{ "hyperv_page", hyperv_page, .missing = no_hyperv, .prepare = hyperv_page_prepare,
	  .own_vm = true },
	{ "new_generation", new_generation, .own_vm = true },
	{ "guest_tsc", guest_tsc, .own_vm = true },
	{ "tsc_offset_plus_1", tsc_offset_plus_1, .own_vm = true },
	{ "tsc_offset_one_vcpu", tsc_offset_one_vcpu, .own_vm = true },
	{ "system_time_old_new", system_time_old, system_time_new, .own_vm = true },
};

#define NR_EVENTS	((int)ARRAY_SIZE(events))

/*
 * By how much the host's clock and a line may drift apart within @cycles of the host's
 * TSC: its clocksource rounds the length of a cycle to its mult, which has 22 bits at
 * least up to 8 GHz.
 */
static s64 drift_ns(u64 cycles)
{
	return kvmclock_cycles_to_ns(cycles) >> 22;
}

/* An event at one TSC frequency. */
struct instance {
	struct kvmclock_vm *kc;
	struct kvmclock_series steps;
	u64 last_tsc;
	bool failed;
};

static struct kvmclock_series ages_ms;

static struct instance instances[KVMCLOCK_MAX_MODES][NR_EVENTS];

static const char *event_missing(const struct event *event)
{
	return event->missing ? event->missing() : NULL;
}

/* The worst step of any vCPU, now or in an hour. */
static s64 worst_step(struct kvmclock_shot *before, struct kvmclock_shot *after)
{
	u64 now = rdtsc();
	s64 worst = 0;
	int i, far;

	for (i = 0; i < KVMCLOCK_MAX_VCPUS; i++) {
		if (!before->valid[i] || !after->valid[i])
			continue;
		for (far = 0; far < 2; far++) {
			s64 step = kvmclock_step(before, after, i, now + far * far_cycles());

			if (labs(step) > labs(worst))
				worst = step;
		}
	}
	return worst;
}

static void on_instances(void (*fn)(int mode, int e))
{
	int mode, e;

	for (mode = -1; kvmclock_next_mode(&mode);)
		for (e = 0; e < NR_EVENTS; e++)
			if (!event_missing(&events[e]))
				fn(mode, e);
}

/* What the events without a VM of their own share, one per mode. */
static struct kvmclock_vm shared_vms[KVMCLOCK_MAX_MODES];

static struct kvmclock_vm *vm_for(int mode, bool own)
{
	struct kvmclock_vm *kc = &shared_vms[mode];

	if (own) {
		kc = malloc(sizeof(*kc));
		TEST_ASSERT(kc, "Out of memory");
		kc->vm = NULL;
	}
	if (!kc->vm)
		kvmclock_vm_create(kc, kvmclock_modes()[mode].khz, NR_VCPUS, MAX_VCPUS);
	return kc;
}

static void create_instance(int mode, int e)
{
	struct kvmclock_vm *kc = vm_for(mode, events[e].own_vm);

	instances[mode][e].kc = kc;
	instances[mode][e].last_tsc = rdtsc();
	if (events[e].prepare)
		events[e].prepare(kc);
	kvmclock_settle(kc);
}

/* Record in @steps how far the clock has stepped; false if it may not. */
static bool step_is_within(const char *name, struct kvmclock_shot *before,
			   struct kvmclock_shot *after, s64 min, s64 max,
			   struct kvmclock_series *steps)
{
	s64 step = worst_step(before, after);

	if (steps->nr < KVMCLOCK_MAX_SAMPLES)
		kvmclock_record(steps, step);
	if (step >= min && step <= max)
		return true;

	ksft_print_msg("%s: %ld ns, not %ld to %ld\n", name, step, min, max);
	return false;
}

/*
 * Stop the master clock, and start it again: two causes for another line.  In between, the
 * clock is the host's, and a vCPU draws its line from it by whole cycles of its TSC.  That
 * is ahead or behind by less than one, so that the guest, which reads whole cycles, does
 * not see it go back.  The master clock does not start below any vCPU's line.
 */
static bool fire_and_restart(struct kvmclock_vm *kc, const struct event *event,
			     struct kvmclock_series *steps)
{
	s64 cycle = kvmclock_cycle_ns(kc), max = 2 * REDRAW_NS + cycle, drift;
	struct kvmclock_shot before, between, after;
	u64 tsc = rdtsc();
	bool ok;

	kvmclock_shoot(kc, &before);
	event->fire(kc);
	kvmclock_settle(kc);
	kvmclock_shoot(kc, &between);
	event->restart(kc);
	kvmclock_settle(kc);
	kvmclock_shoot(kc, &after);

	drift = drift_ns(rdtsc() - tsc);
	ok = step_is_within(event->name, &between, &after, 0, max + drift, steps);
	return step_is_within(event->name, &before, &after, -cycle - drift, max + drift,
			      steps) && ok;
}

static bool fire(struct kvmclock_vm *kc, const struct event *event,
		 struct kvmclock_series *steps)
{
	struct kvmclock_shot before, after;

	if (event->restart)
		return fire_and_restart(kc, event, steps);

	kvmclock_shoot(kc, &before);
	event->fire(kc);
	kvmclock_settle(kc);
	kvmclock_shoot(kc, &after);
	return step_is_within(event->name, &before, &after, 0, 0, steps);
}

static void fire_instance(int mode, int e)
{
	struct instance *instance = &instances[mode][e];

	if (events[e].own_vm)
		kvmclock_record(&ages_ms, (rdtsc() - instance->last_tsc) / kvmclock_host_khz());
	if (!fire(instance->kc, &events[e], &instance->steps))
		instance->failed = true;
	instance->last_tsc = rdtsc();
}

/* Print what the rounds of one age have measured, and forget it. */
static int age_of_series;

static void finish_ages(void)
{
	char key[96];

	snprintf(key, sizeof(key), "continuity.age%dms.true_age", age_of_series);
	kvmclock_print(&ages_ms, key, "ms");
	ages_ms.nr = 0;
}

static void finish_age(int mode, int e)
{
	struct instance *instance = &instances[mode][e];
	char key[96];

	snprintf(key, sizeof(key), "continuity.%s.%s.age%dms", events[e].name,
		 kvmclock_modes()[mode].name, age_of_series);
	kvmclock_print(&instance->steps, key, "ns");
	instance->steps.nr = 0;
}

static void destroy_own_vm(int mode, int e)
{
	if (!events[e].own_vm)
		return;
	kvmclock_vm_destroy(instances[mode][e].kc);
	free(instances[mode][e].kc);
}

static void report_event(int mode, int e)
{
	const char *why = event_missing(&events[e]);
	const char *name = kvmclock_modes()[mode].name;

	if (why)
		ksft_test_result_skip("%s %s: %s\n", events[e].name, name, why);
	else
		ksft_test_result(!instances[mode][e].failed, "%s %s\n", events[e].name, name);
}

static void test_events(void)
{
	int round, mode, e;

	on_instances(create_instance);
	for (round = 0; round < NR_ROUNDS; round++) {
		usleep(round_age_ms[round] * 1000);
		on_instances(fire_instance);

		age_of_series = round_age_ms[round];
		if (round == NR_ROUNDS - 1 || round_age_ms[round + 1] != age_of_series) {
			on_instances(finish_age);
			finish_ages();
		}
	}
	on_instances(destroy_own_vm);

	for (mode = -1; kvmclock_next_mode(&mode);)
		for (e = 0; e < NR_EVENTS; e++)
			report_event(mode, e);
}

/* ---- All events in one VM, at random, but always the same ---- */

/* The page of the vCPU that is never created is in use: do not create that vCPU. */
static bool can_fire(const struct kvmclock_vm *kc, const struct event *event)
{
	return !event_missing(event) &&
	       (event->fire != vcpu_created || kc->nr_vcpus < MAX_VCPUS - 1);
}

static bool fire_at_random(struct kvmclock_vm *kc, struct kvmclock_series *steps)
{
	const struct event *event;

	do {
		event = &events[random() % NR_EVENTS];
	} while (!can_fire(kc, event));

	return fire(kc, event, steps);
}

static void test_random_order(int mode)
{
	const char *name = kvmclock_modes()[mode].name;
	struct kvmclock_series steps = {};
	struct kvmclock_vm kc;
	bool ok = true;
	char key[96];
	int i;

	kvmclock_vm_create(&kc, kvmclock_modes()[mode].khz, NR_VCPUS, MAX_VCPUS);
	for (i = 0; i < NR_EVENTS; i++)
		if (events[i].prepare && !event_missing(&events[i]))
			events[i].prepare(&kc);
	kvmclock_settle(&kc);

	srandom(1);
	for (i = 0; i < nr_random; i++)
		ok &= fire_at_random(&kc, &steps);
	kvmclock_vm_destroy(&kc);

	snprintf(key, sizeof(key), "continuity.random_order.%s", name);
	kvmclock_print(&steps, key, "ns");
	ksft_test_result(ok, "random_order %s\n", name);
}

static void test_random_orders(void)
{
	int mode;

	for (mode = -1; kvmclock_next_mode(&mode);)
		test_random_order(mode);
}

/* ---- KVM_SET_CLOCK ---- */

static const struct {
	const char *name;
	s64 delta;
} sets[] = {
	{ "set_clock_forward", 3600 * NSEC_PER_SEC },
	{ "set_clock_back", -1800 * NSEC_PER_SEC },
	{ "set_clock_a_little_forward", 1000000 },
};

#define NR_SETS	((int)ARRAY_SIZE(sets))

/*
 * The instant of the ioctl is not known, but it is between two readings of the
 * host TSC, at which the new line must be below and above the value asked for.
 * Return by how much it is not.
 */
static s64 set_error(struct kvmclock_vm *kc, s64 delta)
{
	u64 want = kvmclock_get(kc).clock + delta, before, after;
	struct kvmclock_shot shot;
	s64 error = 0;
	int i;

	before = rdtsc();
	kvmclock_set(kc, want, 0, 0);
	after = rdtsc();
	kvmclock_settle(kc);
	kvmclock_shoot(kc, &shot);

	for (i = 0; i < NR_VCPUS && !error; i++) {
		if ((s64)(kvmclock_at(&shot, i, before) - want) > 0)
			error = kvmclock_at(&shot, i, before) - want;
		else if ((s64)(kvmclock_at(&shot, i, after) - want) < 0)
			error = kvmclock_at(&shot, i, after) - want;
	}
	return error;
}

static void test_set(struct kvmclock_vm *kc, int mode, int s)
{
	const char *name = kvmclock_modes()[mode].name;
	struct kvmclock_series errors = {};
	char key[96];
	int i;

	for (i = 0; i < 8; i++)
		kvmclock_record(&errors, set_error(kc, sets[s].delta));

	snprintf(key, sizeof(key), "continuity.%s.%s.error", sets[s].name, name);
	ksft_test_result(kvmclock_within(&errors, key, "ns", 0, 0), "%s %s\n",
			 sets[s].name, name);
}

static void test_sets(void)
{
	struct kvmclock_vm *kc;
	int mode, s;

	for (mode = -1; kvmclock_next_mode(&mode);) {
		kc = &shared_vms[mode];
		kvmclock_set(kc, 24 * 3600 * NSEC_PER_SEC, 0, 0);
		for (s = 0; s < NR_SETS; s++)
			test_set(kc, mode, s);
		kvmclock_vm_destroy(kc);
	}
}

/* GET and both vCPUs' readings, in turn: how far is one below the one before? */
static s64 backward(struct kvmclock_vm *kc, u64 *last)
{
	s64 back = 0;
	u64 now;
	int i;

	for (i = -1; i < kc->nr_vcpus; i++) {
		now = i < 0 ? kvmclock_get(kc).clock : kvmclock_run(kc, i, KVMCLOCK_READ, 0, 0);
		if ((s64)(now - *last) < back)
			back = now - *last;
		*last = now;
	}
	return back;
}

/* ---- KVM_SET_TSC_KHZ to another frequency ---- */

/*
 * A guest TSC of another frequency ticks at other times, so the two lines must be
 * compared at the very host TSC at which the new one begins: the one, or one of
 * those, that are scaled to its tsc_timestamp.  Return the step there that is
 * nearest to 0.
 */
static s64 step_at_anchor(const struct kvmclock_shot *from, const struct kvmclock_shot *to)
{
	u64 anchor = to->line[0].tsc_timestamp - to->offset[0];
	u64 tsc = kvmclock_unscale(anchor, to->ratio);
	s64 step, best = kvmclock_step(from, to, 0, tsc);

	for (; kvmclock_scale(tsc, to->ratio) == anchor; tsc++) {
		step = kvmclock_step(from, to, 0, tsc);
		if (labs(step) < labs(best))
			best = step;
	}
	return best;
}

static s64 khz_step(struct kvmclock_vm *kc, u32 khz)
{
	struct kvmclock_shot from, to;

	kvmclock_shoot(kc, &from);
	vcpu_ioctl(kc->vcpu[0], KVM_SET_TSC_KHZ, (void *)(unsigned long)khz);
	kc->ratio = kvmclock_ratio(khz);
	kvmclock_settle(kc);
	kvmclock_shoot(kc, &to);
	return step_at_anchor(&from, &to);
}

static void test_khz(void)
{
	static const char name[] = "set_tsc_khz_other";
	const struct kvmclock_mode *modes = kvmclock_modes();
	struct kvmclock_series steps = {};
	struct kvmclock_vm kc;
	int i;

	if (!kvmclock_can_scale()) {
		ksft_test_result_skip("%s: no TSC scaling on this host\n", name);
		return;
	}

	kvmclock_vm_create(&kc, 0, 1, 1);
	for (i = 1; i <= 2 * KVMCLOCK_MAX_MODES; i++) {
		usleep(20000);
		kvmclock_record(&steps, khz_step(&kc, modes[i % KVMCLOCK_MAX_MODES].khz));
	}
	kvmclock_vm_destroy(&kc);

	ksft_test_result(kvmclock_within(&steps, "continuity.set_tsc_khz_other.age20ms", "ns",
					 0, REDRAW_NS), "%s\n", name);
}

static void set_khz(struct kvmclock_vm *kc, int i, u32 khz)
{
	vcpu_ioctl(kc->vcpu[i], KVM_SET_TSC_KHZ, (void *)(unsigned long)khz);
}

/* While the vCPUs' frequencies differ, there is no master clock. */
static void test_khz_two_vcpus(void)
{
	static const char name[] = "set_tsc_khz_two_vcpus";
	const struct kvmclock_mode *modes = kvmclock_modes();
	struct kvmclock_series back = {};
	bool left = true, back_again = true;
	struct kvmclock_vm kc;
	u64 last = 0;
	int i;

	if (!kvmclock_can_scale()) {
		ksft_test_result_skip("%s: no TSC scaling on this host\n", name);
		return;
	}

	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);
	for (i = 1; i <= KVMCLOCK_MAX_MODES; i++) {
		u32 khz = modes[i % KVMCLOCK_MAX_MODES].khz;

		kvmclock_record(&back, backward(&kc, &last));
		set_khz(&kc, 0, khz);
		left &= kvmclock_get(&kc).flags == 0;
		kvmclock_record(&back, backward(&kc, &last));
		set_khz(&kc, 1, khz);
		back_again &= kvmclock_get(&kc).flags == KVMCLOCK_MASTER_FLAGS;
		kvmclock_record(&back, backward(&kc, &last));
	}
	kvmclock_vm_destroy(&kc);

	ksft_test_result(kvmclock_within(&back, "continuity.set_tsc_khz_two_vcpus.backward",
					 "ns", 0, 0) && left && back_again, "%s\n", name);
}

/*
 * Without scaling, a TSC that is to be faster than the host's is moved forward at
 * each entry.  No line is right for it for long, so there is no master clock.
 */
static void test_catchup(void)
{
	static const char name[] = "catchup";
	struct kvmclock_series back = {};
	struct kvmclock_vm kc;
	bool left, returned;
	u64 last = 0;
	int i;

	if (kvm_has_cap(KVM_CAP_TSC_CONTROL)) {
		ksft_test_result_skip("%s: TSCs are scaled on this host\n", name);
		return;
	}

	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);
	backward(&kc, &last);
	set_khz(&kc, 1, kvmclock_host_khz() * 2);
	left = kvmclock_get(&kc).flags == 0;
	for (i = 0; i < 20; i++)
		kvmclock_record(&back, backward(&kc, &last));
	returned = kvmclock_get(&kc).flags != 0;
	kvmclock_vm_destroy(&kc);

	ksft_test_result(kvmclock_within(&back, "continuity.catchup.backward", "ns", 0, 0) &&
			 left && !returned, "%s\n", name);
}

/* ---- Differing TSC offsets ---- */

static bool page_is_stable(const struct kvmclock_vm *kc, int vcpu)
{
	return kc->page[vcpu]->flags & PVCLOCK_TSC_STABLE_BIT;
}

static bool all_pages_stable(const struct kvmclock_vm *kc, bool stable)
{
	int i;

	for (i = 0; i < kc->nr_vcpus; i++)
		if (page_is_stable(kc, i) != stable)
			return false;
	return true;
}

/*
 * Let only the last vCPU enter the guest after a change: by then neither its own page
 * nor vCPU 0's may have the wrong bit, because the guest may read both from there.
 * After all have entered, no page may.
 */
static bool bit_follows(struct kvmclock_vm *kc, bool stable)
{
	const int last = kc->nr_vcpus - 1;
	bool ok;

	kvmclock_run(kc, last, KVMCLOCK_NOP, 0, 0);
	ok = page_is_stable(kc, 0) == stable && page_is_stable(kc, last) == stable;
	kvmclock_settle(kc);
	return ok && all_pages_stable(kc, stable);
}

static void test_stable_bit(void)
{
	bool gone, back, master;
	struct kvmclock_vm kc;
	u64 offset;

	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);
	offset = kvmclock_get_offset(kc.vcpu[1]);
	ksft_test_result(all_pages_stable(&kc, true), "stable_bit_set\n");

	kvmclock_set_offset(kc.vcpu[1], offset + (1UL << 36));
	gone = bit_follows(&kc, false);
	master = kvmclock_get(&kc).flags == KVMCLOCK_MASTER_FLAGS;

	kvmclock_set_offset(kc.vcpu[1], offset);
	back = bit_follows(&kc, true);
	kvmclock_vm_destroy(&kc);

	ksft_test_result(gone, "stable_bit_gone_with_differing_offsets\n");
	ksft_test_result(master, "master_clock_with_differing_offsets\n");
	ksft_test_result(back, "stable_bit_back_with_equal_offsets\n");
}

/* ---- Host events ---- */

/* The host's own clock, and the TSC when it was read. */
struct host_time {
	u64 raw;
	u64 tsc;
};

static struct host_time host_time(void)
{
	struct host_time time = {};
	u64 start, raw, width, best = ~0ULL;
	int i;

	for (i = 0; i < 10; i++) {
		start = rdtsc();
		raw = kvmclock_host_ns(CLOCK_MONOTONIC_RAW);
		width = rdtsc() - start;
		if (width < best) {
			best = width;
			time.tsc = start + width / 2;
			time.raw = raw;
		}
	}
	return time;
}

/* By how much the host's clock parted from vCPU 0's line between @from and @to. */
static s64 host_step(const struct kvmclock_shot *shot, const struct host_time *from,
		     const struct host_time *to)
{
	return to->raw - from->raw -
	       (kvmclock_at(shot, 0, to->tsc) - kvmclock_at(shot, 0, from->tsc));
}

/*
 * In host clock mode there is no line to compare with: the clock follows the host's,
 * with the frequency and granularity of another clocksource.  The host's clock parts
 * from the line by that, and by what it loses when its clocksource changes, which is
 * the time between its last reading of one and its first of the other.  An emulator
 * may well stop there.  The clock may lose or gain as much, or nothing, or a part.
 *
 * KVM also needs the host's clock and the TSC of the same time when the mode changes,
 * and an emulator may stop between these two: half of the steps are to be so.
 */
#define OTHER_CLOCK_NS	1000000

static s64 unexplained(s64 step, s64 host)
{
	return kvmclock_outside(step, host < 0 ? host : 0, host > 0 ? host : 0);
}

static bool judge_mode(struct kvmclock_series *back, struct kvmclock_series *steps,
		       const char *what)
{
	char key[96];
	bool ok;

	snprintf(key, sizeof(key), "continuity.%s.backward", what);
	ok = check(kvmclock_within(back, key, "ns", 0, 0), "the clock went back");
	snprintf(key, sizeof(key), "continuity.%s.step", what);
	kvmclock_print(steps, key, "ns");
	return check(labs(steps->value[(steps->nr - 1) / 2]) <= OTHER_CLOCK_NS,
		     "the time of before has changed") && ok;
}

/* The boot vCPU's old MSR stops the master clock, for a while this time. */
static void test_old_msr(void)
{
	struct kvmclock_series back = {}, steps = {};
	struct kvmclock_shot before, after;
	bool left = true, returned = true;
	struct kvmclock_vm kc;
	u64 last = 0;
	int i;

	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);
	for (i = 0; i < 5; i++) {
		kvmclock_shoot(&kc, &before);
		kvmclock_record(&back, backward(&kc, &last));
		kvmclock_run(&kc, 0, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME,
			     kvmclock_time_gpa(&kc, 0, 0) | KVM_MSR_ENABLED);
		kvmclock_record(&back, backward(&kc, &last));
		left &= kvmclock_get(&kc).flags == 0;
		usleep(20000);
		kvmclock_record(&back, backward(&kc, &last));
		kvmclock_enable(&kc, 0, 0);
		kvmclock_record(&back, backward(&kc, &last));
		returned &= kvmclock_get(&kc).flags == KVMCLOCK_MASTER_FLAGS;
		kvmclock_shoot(&kc, &after);
		kvmclock_record(&steps, worst_step(&before, &after));
	}
	kvmclock_vm_destroy(&kc);

	ksft_test_result(judge_mode(&back, &steps, "old_msr") && left && returned, "old_msr\n");
}

/*
 * The clocksource leaves the TSC and returns.  The host decides; neither the VMM
 * nor a vCPU asks: so only GET is used until its flags have changed.
 */
static void test_clocksource(void)
{
	const char *other = kvmclock_other_clocksource();
	struct kvmclock_series back = {}, steps = {}, host = {};
	struct kvmclock_shot before, after;
	struct host_time from, to;
	bool left = true, returned = true;
	char *tsc = NULL;
	struct kvmclock_vm kc;
	u64 last = 0;
	int i;

	if (!other) {
		ksft_test_result_skip("clocksource_leaves_tsc: no other clocksource\n");
		ksft_test_result_skip("clocksource_returns_to_tsc: no other clocksource\n");
		ksft_test_result_skip("clocksource: no other clocksource\n");
		return;
	}

	tsc = sys_get_cur_clocksource();
	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);
	for (i = 0; i < 5; i++) {
		kvmclock_shoot(&kc, &before);
		from = host_time();
		kvmclock_record(&back, backward(&kc, &last));
		TEST_ASSERT(kvmclock_set_clocksource(other), "Cannot switch to %s", other);
		left = left && kvmclock_wait_flags(&kc, 0);
		kvmclock_record(&back, backward(&kc, &last));
		TEST_ASSERT(kvmclock_set_clocksource(tsc), "Cannot switch to %s", tsc);
		returned = returned && kvmclock_wait_flags(&kc, KVMCLOCK_MASTER_FLAGS);
		kvmclock_record(&back, backward(&kc, &last));
		to = host_time();
		kvmclock_shoot(&kc, &after);
		kvmclock_record(&host, host_step(&before, &from, &to));
		kvmclock_record(&steps, unexplained(worst_step(&before, &after),
						    host_step(&before, &from, &to)));
	}
	kvmclock_vm_destroy(&kc);
	free(tsc);
	kvmclock_print(&host, "continuity.clocksource.host", "ns");

	ksft_test_result(left, "clocksource_leaves_tsc\n");
	ksft_test_result(returned, "clocksource_returns_to_tsc\n");
	ksft_test_result(judge_mode(&back, &steps, "clocksource"), "clocksource\n");
}

static void help(const char *name)
{
	printf("usage: %s [-h] [-n events]\n", name);
	printf("-n: how many events in random order (default %d)\n", nr_random);
	exit(KSFT_SKIP);
}

int main(int argc, char *argv[])
{
	int opt;

	while ((opt = getopt(argc, argv, "hn:")) != -1) {
		if (opt != 'n')
			help(argv[0]);
		nr_random = atoi_positive("Number of events", optarg);
	}

	kvmclock_start(11, NR_EVENTS + 1 + NR_SETS);
	kvm_set_files_rlimit(kvmclock_nr_modes() * NR_EVENTS * MAX_VCPUS);

	test_events();
	test_random_orders();
	test_sets();
	test_khz();
	test_khz_two_vcpus();
	test_catchup();
	test_stable_bit();
	test_old_msr();
	test_clocksource();

	kvmclock_finished();
}
