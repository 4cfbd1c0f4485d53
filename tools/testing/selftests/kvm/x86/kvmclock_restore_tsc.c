// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that all that hangs on a guest's TSC follows when KVM_SET_CLOCK moves it.
 *
 * With KVM_CLOCK_GUEST_TSC, one ioctl moves the TSCs of all vCPUs by the same
 * number of cycles, and counts as a write by user space: later writes match it.
 * IA32_TSC_ADJUST stays, and so does whatever a guest has written to its TSCs: the
 * TSC that is restored is the boot vCPU's, and those of others keep their distance.
 * What KVM has computed from the TSC before follows: the
 * guest's pages, TSC-deadline timers, and the TSC that a nested guest reads and its
 * VMX preemption timer, even those of a vCPU that was stopped in it.
 */
#include <signal.h>
#include <sys/time.h>

#include "apic.h"
#include "kvmclock.h"
#include "svm_util.h"
#include "vmx.h"

#define NR_VCPUS	2
#define MAX_VCPUS	(NR_VCPUS + 3)

/* Far from anything that a TSC reads by itself. */
#define FAR		BIT(44)

static struct kvmclock_vm kc, dst;
static int mode;

static u64 guest_khz(void)
{
	u32 khz = kvmclock_modes()[mode].khz;

	return khz ? khz : kvmclock_host_khz();
}

static bool judge(s64 value, const char *what, const char *unit, s64 low, s64 high)
{
	char key[96];

	snprintf(key, sizeof(key), "restore_tsc.%s.%s", what, kvmclock_modes()[mode].name);
	kvmclock_measure(key, value, unit);
	return check(value >= low && value <= high, "%s: %ld %s, not %ld to %ld", what, value,
		     unit, low, high);
}

/* Move the TSC, and leave the clock alone. */
static bool move(struct kvmclock_vm *vm, u64 cycles)
{
	struct kvm_clock_data data = kvmclock_get(vm);
	int err;

	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC;
	data.guest_tsc += cycles;
	err = kvmclock_try_set(vm, &data);
	return check(!err, "SET: errno %d", err);
}

static void set_equal(void)
{
	int i;

	for (i = 0; i < kc.nr_vcpus; i++)
		kvmclock_set_offset(kc.vcpu[i], 1UL << 36);
	kvmclock_settle(&kc);
}

/* ---- TSC offsets, and writes of the TSC ---- */

static bool test_offsets(void)
{
	u64 offset[MAX_VCPUS];
	bool ok;
	int i;

	for (i = 0; i < kc.nr_vcpus; i++)
		offset[i] = kvmclock_get_offset(kc.vcpu[i]);
	ok = move(&kc, FAR + 1);
	for (i = 0; i < kc.nr_vcpus; i++)
		ok &= judge(kvmclock_get_offset(kc.vcpu[i]) - offset[i] - FAR - 1, "offsets",
			    "cycles", 0, 0);
	return ok;
}

/* vCPU @i's TSC offset less vCPU 0's, after its TSC was written. */
static bool joins(int i, u64 value, const char *what)
{
	u64 offset = kvmclock_get_offset(kc.vcpu[0]);

	vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC, value);
	return judge(kvmclock_get_offset(kc.vcpu[i]) - offset, what, "cycles", 0, 0);
}

/*
 * A VMM that goes on to restore MSRs writes the TSCs that it has saved.  This VM's
 * user space has not written one before: it is the move that they are matched with.
 */
static bool test_msr_written_back(void)
{
	return move(&kc, FAR) &&
	       joins(1, vcpu_get_msr(kc.vcpu[1], MSR_IA32_TSC), "msr_written_back.1") &&
	       joins(0, vcpu_get_msr(kc.vcpu[0], MSR_IA32_TSC), "msr_written_back.0");
}

static bool test_msr_half_a_second(void)
{
	u64 half = guest_khz() * 500;

	set_equal();
	return move(&kc, -FAR) &&
	       joins(1, vcpu_get_msr(kc.vcpu[1], MSR_IA32_TSC) - half, "msr_earlier") &&
	       move(&kc, FAR) &&
	       joins(1, vcpu_get_msr(kc.vcpu[1], MSR_IA32_TSC) + half, "msr_later");
}

static bool test_msr_zero(void)
{
	set_equal();
	return move(&kc, FAR) && joins(1, 0, "msr_zero");
}

/* No match: the TSC is what was written. */
static bool test_msr_far(void)
{
	u64 before, after, value;

	set_equal();
	if (!move(&kc, FAR))
		return false;

	value = vcpu_get_msr(kc.vcpu[1], MSR_IA32_TSC) + guest_khz() * 3600000;
	before = kvmclock_scale(rdtsc(), kc.ratio);
	vcpu_set_msr(kc.vcpu[1], MSR_IA32_TSC, value);
	after = kvmclock_scale(rdtsc(), kc.ratio);
	value -= kvmclock_get_offset(kc.vcpu[1]);
	return judge(kvmclock_outside(value, before, after), "msr_far", "cycles", 0, 0);
}

/* vCPUs that are created after the move, by which time user space writes one of them. */
static bool test_created(void)
{
	u64 offset;
	int i;

	set_equal();
	if (!move(&kc, FAR))
		return false;

	offset = kvmclock_get_offset(kc.vcpu[0]);
	i = kvmclock_vcpu_add(&kc);
	kvmclock_enable(&kc, i, 0);
	return judge(kvmclock_get_offset(kc.vcpu[i]) - offset, "created", "cycles", 0, 0) &&
	       joins(i, vcpu_get_msr(kc.vcpu[i], MSR_IA32_TSC), "created.written_back");
}

/* The TSC is restored before there is a vCPU, and written when there are some. */
static bool test_first_written_back(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	u64 offset[NR_VCPUS], msr;
	struct kvmclock_vm fresh;
	int i;

	kvmclock_vm_init(&fresh, kvmclock_modes()[mode].khz, NR_VCPUS);
	kvmclock_opt_in(&fresh, KVM_CLOCK_GUEST_TSC);
	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC;
	kvmclock_try_set(&fresh, &data);
	for (i = 0; i < NR_VCPUS; i++) {
		kvmclock_vcpu_add(&fresh);
		msr = vcpu_get_msr(fresh.vcpu[i], MSR_IA32_TSC);
		vcpu_set_msr(fresh.vcpu[i], MSR_IA32_TSC, msr);
		offset[i] = kvmclock_get_offset(fresh.vcpu[i]);
	}
	kvmclock_vm_destroy(&fresh);

	data.guest_tsc -= kvmclock_scale(data.host_tsc, kc.ratio);
	return judge(offset[0] - data.guest_tsc, "first_written_back.0", "cycles", 0, 0) &&
	       judge(offset[1] - data.guest_tsc, "first_written_back.1", "cycles", 0, 0);
}

static bool test_tsc_adjust(void)
{
	u64 host[NR_VCPUS], guest;
	bool ok = true;
	int i;

	set_equal();
	for (i = 0; i < NR_VCPUS; i++) {
		kvmclock_run(&kc, i, KVMCLOCK_ADD_MSR, MSR_IA32_TSC_ADJUST, 1000000 + i);
		host[i] = vcpu_get_msr(kc.vcpu[i], MSR_IA32_TSC_ADJUST);
	}
	ok &= move(&kc, FAR);
	for (i = 0; i < NR_VCPUS; i++) {
		guest = kvmclock_run(&kc, i, KVMCLOCK_RDMSR, MSR_IA32_TSC_ADJUST, 0);
		ok &= judge(vcpu_get_msr(kc.vcpu[i], MSR_IA32_TSC_ADJUST) - host[i],
			    "tsc_adjust.host", "cycles", 0, 0);
		ok &= judge(guest - host[i], "tsc_adjust.guest", "cycles", 0, 0);
	}
	return ok;
}

/* What the vCPU itself reads has moved, too. */
static bool test_rdtsc(void)
{
	u64 offset = kvmclock_get_offset(kc.vcpu[1]) + FAR, low, tsc, high;

	if (!move(&kc, FAR))
		return false;
	low = kvmclock_scale(rdtsc(), kc.ratio) + offset;
	tsc = kvmclock_run(&kc, 1, KVMCLOCK_RDTSC, 0, 0);
	high = kvmclock_scale(rdtsc(), kc.ratio) + offset;
	return judge(kvmclock_outside(tsc, low, high), "rdtsc", "cycles", 0, 0);
}

/* ---- Pages ---- */

static bool steps_are(const struct kvmclock_shot *before, const char *what, s64 low, s64 high)
{
	struct kvmclock_shot after;
	u64 now = rdtsc();
	bool ok = true;
	int i;

	kvmclock_shoot(&kc, &after);
	for (i = 0; i < NR_VCPUS; i++)
		ok &= judge(kvmclock_step(before, &after, i, now), what, "ns", low, high);
	return ok;
}

/* Only the last vCPU has entered the guest, and may use vCPU 0's page, too. */
static bool boot_page_is_right(void)
{
	s64 error;

	kvmclock_run(&kc, NR_VCPUS - 1, KVMCLOCK_NOP, 0, 0);
	error = kvmclock_page_error(&kc, 0, kc.page[0]);
	kvmclock_settle(&kc);
	return check(labs(error) <= 1, "vCPU 0's page is off by %ld ns", error);
}

static bool test_pages(void)
{
	struct kvmclock_shot before, after;
	bool ok = true;
	int i;

	set_equal();
	kvmclock_shoot(&kc, &before);
	ok &= move(&kc, FAR) && boot_page_is_right();
	kvmclock_shoot(&kc, &after);
	ok &= steps_are(&before, "pages", -kvmclock_rounding_ns(&before.line[0]), 0);
	for (i = 0; i < NR_VCPUS; i++)
		ok &= check(after.line[i].flags & PVCLOCK_TSC_STABLE_BIT, "vCPU %d: unstable", i);
	return ok;
}

static bool test_pages_differing(void)
{
	struct kvmclock_shot before, after;
	bool ok = true;
	int i;

	set_equal();
	kvmclock_set_offset(kc.vcpu[1], 98765432);
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &before);
	ok &= move(&kc, FAR) && boot_page_is_right();
	kvmclock_shoot(&kc, &after);
	ok &= steps_are(&before, "pages_differing",
			-kvmclock_rounding_ns(&before.line[0]), 0);
	for (i = 0; i < NR_VCPUS; i++)
		ok &= check(!(after.line[i].flags & PVCLOCK_TSC_STABLE_BIT), "vCPU %d: stable", i);
	return ok;
}

/* A vCPU that has not run yet, nor enabled its clock. */
static bool test_pages_never_run(void)
{
	struct kvmclock_shot shot;
	u64 now;
	int i;

	set_equal();
	i = kvmclock_vcpu_add(&kc);
	if (!move(&kc, FAR))
		return false;
	kvmclock_enable(&kc, i, 0);
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &shot);
	now = rdtsc();
	return judge(shot.offset[i] - shot.offset[0], "pages_never_run.offset", "cycles", 0, 0) &&
	       judge(kvmclock_at(&shot, i, now) - kvmclock_at(&shot, 0, now), "pages_never_run",
		     "ns", 0, 0);
}

/* What comes after the move goes on from it. */
static bool test_events_after(void)
{
	struct kvmclock_shot before;
	bool ok;

	set_equal();
	ok = move(&kc, FAR);
	kvmclock_settle(&kc);

	kvmclock_shoot(&kc, &before);
	kvmclock_run(&kc, 1, KVMCLOCK_ADD_MSR, MSR_IA32_TSC, FAR);
	kvmclock_settle(&kc);
	ok &= steps_are(&before, "after.guest_tsc", 0, 0);
	kvmclock_run(&kc, 0, KVMCLOCK_ADD_MSR, MSR_IA32_TSC_ADJUST, FAR);
	kvmclock_settle(&kc);
	ok &= steps_are(&before, "after.guest_tsc_adjust", 0, 0);
	set_equal();
	ok &= steps_are(&before, "after.offsets", 0, 0);
	return ok;
}

/* The pages say whether TSCs are equal after the move as well as before. */
static bool test_stable_after(void)
{
	struct kvmclock_shot shot;
	bool ok;

	set_equal();
	ok = move(&kc, FAR);
	kvmclock_settle(&kc);
	kvmclock_set_offset(kc.vcpu[1], kvmclock_get_offset(kc.vcpu[1]) + 1);
	kvmclock_run(&kc, 0, KVMCLOCK_NOP, 0, 0);
	kvmclock_shoot(&kc, &shot);
	ok &= check(!(shot.line[0].flags & PVCLOCK_TSC_STABLE_BIT), "stable, but TSCs differ");
	kvmclock_set_offset(kc.vcpu[1], kvmclock_get_offset(kc.vcpu[0]));
	kvmclock_run(&kc, 0, KVMCLOCK_NOP, 0, 0);
	kvmclock_shoot(&kc, &shot);
	return ok & check(shot.line[0].flags & PVCLOCK_TSC_STABLE_BIT, "unstable, TSCs are equal");
}

/* ---- What the guest wrote to its TSCs ---- */

static const struct restore_way {
	const char *name;
	u32 flags;
	bool freeze;	/* no time passes */
} restore_ways[] = {
	{ "freeze", KVM_CLOCK_REALTIME, true },
	{ "realtime", KVM_CLOCK_REALTIME },
	{ "host_tsc", KVM_CLOCK_HOST_TSC },
	{ "none", 0 },
};

#define NR_RESTORE_WAYS	((int)ARRAY_SIZE(restore_ways))

/* vCPUs that wrote theirs: none, all, the boot vCPU, the other one. */
static const u64 writers[] = { 0, BIT(0) | BIT(1), BIT(0), BIT(1) };

static const u32 written_msrs[] = { MSR_IA32_TSC_ADJUST, MSR_IA32_TSC };

static void guest_writes(struct kvmclock_vm *vm, u64 vcpus, u32 msr)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		if (vcpus & BIT(i))
			kvmclock_run(vm, i, KVMCLOCK_ADD_MSR, msr, (20 + i) * 1000 * guest_khz());
}

static void get_offsets(struct kvmclock_vm *vm, u64 *offset)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		offset[i] = kvmclock_get_offset(vm->vcpu[i]);
}

/* What is to be restored; the boot vCPU's TSC, exactly. */
static bool save(struct kvmclock_vm *vm, int boot, struct kvm_clock_data *data)
{
	*data = kvmclock_get(vm);
	return check(data->flags == KVMCLOCK_RESTORE_FLAGS, "GET: flags 0x%x", data->flags) &&
	       judge(data->guest_tsc - kvmclock_scale(data->host_tsc, vm->ratio) -
		     kvmclock_get_offset(vm->vcpu[boot]), "written.get", "cycles", 0, 0);
}

/* By how many cycles the TSC is not what it was to be, if KVM was called between two host TSCs. */
static s64 moved_wrongly(struct kvmclock_vm *vm, const struct restore_way *way,
			 const struct kvm_clock_data *data, s64 moved, u64 begin, u64 end)
{
	u64 then = kvmclock_scale(data->host_tsc, vm->ratio);
	s64 slack;

	/* It was stopped from GET until some time in SET. */
	if (way->freeze)
		return kvmclock_outside(-moved, kvmclock_scale(begin, vm->ratio) - then,
					kvmclock_scale(end, vm->ratio) - then);
	if (!(way->flags & KVM_CLOCK_REALTIME))
		return moved;

	/* Wall time is rounded to 1 ns twice, and up to a cycle twice; and it drifts. */
	slack = 2 * guest_khz() / 1000000 + 4 +
		kvmclock_scale(end - data->host_tsc, vm->ratio) * kvmclock_drift_ppb() /
		NSEC_PER_SEC + kvmclock_drift_ppb() / 500;
	return labs(moved) <= slack ? 0 : moved;
}

/* Restore @data, of a guest whose TSC offsets were @was, into @vm: its TSCs go on. */
static bool goes_on(struct kvmclock_vm *vm, int boot, const struct restore_way *way,
		    struct kvm_clock_data data, const u64 *was)
{
	u64 now[MAX_VCPUS], begin, end;
	bool ok = true;
	int i, err;

	data.flags = KVM_CLOCK_GUEST_TSC | way->flags;
	if (way->freeze)
		data.realtime = ~0ULL;
	begin = rdtsc();
	err = kvmclock_try_set(vm, &data);
	end = rdtsc();
	get_offsets(vm, now);
	for (i = 0; i < vm->nr_vcpus; i++)
		ok &= judge((now[i] - was[i]) - (now[boot] - was[boot]), "written.apart",
			    "cycles", 0, 0);
	ok &= judge(moved_wrongly(vm, way, &data, now[boot] - was[boot], begin, end),
		    "written.tsc", "cycles", 0, 0);
	return check(!err, "SET: errno %d", err) && ok;
}

/* In the VM that it was saved of. */
static bool goes_on_in_place(struct kvmclock_vm *vm, int boot, const struct restore_way *way)
{
	struct kvm_clock_data data;
	u64 was[MAX_VCPUS];

	get_offsets(vm, was);
	return save(vm, boot, &data) && goes_on(vm, boot, way, data, was);
}

/*
 * In another VM, in which the VMM has restored the differences between TSCs before, and
 * if KVM is not to move the TSC, the TSC.
 */
static bool goes_on_elsewhere(const struct restore_way *way)
{
	u64 was[MAX_VCPUS], base = way->flags ? 3 * FAR : kvmclock_get_offset(kc.vcpu[0]);
	struct kvm_clock_data data;
	int i;

	get_offsets(&kc, was);
	if (!save(&kc, 0, &data))
		return false;
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_set_offset(dst.vcpu[i], base + was[i] - was[0]);
	return goes_on(&dst, 0, way, data, was);
}

/* Written before it is saved, and again after the restore. */
static bool test_written(const struct restore_way *way)
{
	bool ok = true, now;
	int w, m;

	for (w = 0; w < ARRAY_SIZE(writers); w++) {
		for (m = 0; m < ARRAY_SIZE(written_msrs); m++) {
			set_equal();
			guest_writes(&kc, writers[w], written_msrs[m]);
			now = goes_on_in_place(&kc, 0, way) && goes_on_elsewhere(way);
			guest_writes(&dst, writers[w], written_msrs[m]);
			now = now && goes_on_in_place(&dst, 0, way);
			ok &= check(now, "vCPUs 0x%lx wrote MSR 0x%x", writers[w], written_msrs[m]);
		}
	}
	return ok;
}

/* It joins the reference TSC, which has moved, but not what the boot vCPU wrote to its own. */
static bool test_written_created(void)
{
	u64 reference = 1UL << 36;
	int i;

	set_equal();
	guest_writes(&kc, BIT(0), MSR_IA32_TSC_ADJUST);
	if (!move(&kc, FAR))
		return false;

	i = kvmclock_vcpu_add(&kc);
	return judge(kvmclock_get_offset(kc.vcpu[i]) - reference - FAR, "written_created",
		     "cycles", 0, 0);
}

/* ---- Which vCPU is the boot vCPU ---- */

#define BOOT_VCPU	2

/* Until it is created, the last one, the reference TSC counts, which is what was written last. */
static bool boot_vcpu_is_right(struct kvmclock_vm *vm)
{
	struct kvm_clock_data data;
	bool ok;
	int i;

	kvmclock_vcpu_add(vm);
	kvmclock_vcpu_add(vm);
	kvmclock_set_offset(vm->vcpu[0], 5 * FAR);
	kvmclock_set_offset(vm->vcpu[1], 6 * FAR);
	ok = save(vm, 1, &data);

	kvmclock_vcpu_add(vm);
	ok &= judge(kvmclock_get_offset(vm->vcpu[BOOT_VCPU]) - 6 * FAR, "boot.joins", "cycles",
		    0, 0);
	kvmclock_run(vm, BOOT_VCPU, KVMCLOCK_ADD_MSR, MSR_IA32_TSC_ADJUST, FAR);
	kvmclock_set_offset(vm->vcpu[1], 8 * FAR);
	ok &= save(vm, BOOT_VCPU, &data);
	for (i = 0; i < NR_RESTORE_WAYS; i++)
		ok &= check(goes_on_in_place(vm, BOOT_VCPU, &restore_ways[i]), "%s",
			    restore_ways[i].name);
	return ok;
}

static bool test_boot_vcpu(void)
{
	struct kvmclock_vm vm;
	bool ok;

	kvmclock_vm_init(&vm, kvmclock_modes()[mode].khz, BOOT_VCPU + 1);
	vm_ioctl(vm.vm, KVM_SET_BOOT_CPU_ID, (void *)BOOT_VCPU);
	kvmclock_opt_in(&vm, KVM_CLOCK_GUEST_TSC);
	ok = boot_vcpu_is_right(&vm);
	kvmclock_vm_destroy(&vm);
	return ok;
}

/* ---- TSC-deadline timers ---- */

#define TIMER_VECTOR	0x40

/* The guest's. */
static u64 deadline, fired_at, nr_fired, awake_at;

static void deadline_handler(struct ex_regs *regs)
{
	fired_at = rdtsc();
	WRITE_ONCE(nr_fired, nr_fired + 1);
	x2apic_write_reg(APIC_EOI, 0);
}

/*
 * Arm the timer, for a TSC or so long from now, stop, and see when it fires; but wait
 * for it for some time only.
 */
static void guest_deadline(u64 arm_cycles, u64 wait_cycles, u64 arm_tsc)
{
	x2apic_enable();
	x2apic_write_reg(APIC_LVTT, APIC_LVT_TIMER_TSCDEADLINE | TIMER_VECTOR);
	deadline = arm_tsc ? arm_tsc : rdtsc() + arm_cycles;
	wrmsr(MSR_IA32_TSC_DEADLINE, deadline);
	GUEST_UCALL_NONE();

	awake_at = rdtsc();
	sti();
	while (!READ_ONCE(nr_fired) && rdtsc() - awake_at < wait_cycles)
		cpu_relax();
	cli();
	GUEST_UCALL_NONE();
}

static const struct deadline_test {
	const char *name;
	s64 arm_ms, move_ms, wait_ms;
	bool fires;
} deadline_tests[] = {
	{ "deadline_passed", 1000000, 1001000, 20000, true },
	{ "deadline_nearer", 1000000, 999900, 20000, true },
	{ "deadline_farther", 500, -1000000, 700, false },
};

static void deadline_run(struct kvm_vcpu *vcpu)
{
	vcpu_run(vcpu);
	kvmclock_check_exit(vcpu);
}

/* Neither before the deadline, by the guest's TSC, nor never. */
static bool deadline_is_right(struct kvm_vm *vm, const struct deadline_test *test)
{
	sync_global_from_guest(vm, deadline);
	sync_global_from_guest(vm, fired_at);
	sync_global_from_guest(vm, nr_fired);
	sync_global_from_guest(vm, awake_at);

	if (!test->fires)
		return check(!nr_fired, "fires %ld cycles early", (s64)(deadline - fired_at));
	return check(nr_fired == 1, "does not fire, %ld cycles after the deadline",
		     (s64)(awake_at - deadline)) &&
	       check((s64)(fired_at - deadline) >= 0, "fires %ld cycles early",
		     (s64)(deadline - fired_at));
}

static void create_deadline(struct kvmclock_vm *vm, u64 offset)
{
	kvmclock_vm_init(vm, kvmclock_modes()[mode].khz, 1);
	kvmclock_vcpu_add(vm);
	kvmclock_opt_in(vm, KVM_CLOCK_GUEST_TSC);
	vcpu_set_cpuid_feature(vm->vcpu[0], X86_FEATURE_TSC_DEADLINE_TIMER);
	vm_install_exception_handler(vm->vm, TIMER_VECTOR, deadline_handler);
	kvmclock_set_offset(vm->vcpu[0], offset);
	vcpu_arch_set_entry_point(vm->vcpu[0], guest_deadline);
}

static bool test_deadline(const struct deadline_test *test)
{
	u64 khz = guest_khz();
	struct kvmclock_vm vm;
	bool ok;

	/* So that there is room to move it back. */
	create_deadline(&vm, FAR * 16);
	vcpu_args_set(vm.vcpu[0], 3, test->arm_ms * khz, test->wait_ms * khz, 0);

	deadline_run(vm.vcpu[0]);
	ok = move(&vm, test->move_ms * (s64)khz);
	deadline_run(vm.vcpu[0]);
	ok &= deadline_is_right(vm.vm, test);
	kvmclock_vm_destroy(&vm);
	return ok;
}

/*
 * A guest that has written its TSC has a deadline by that TSC, which is armed elsewhere
 * before the TSC is restored: it fires in time.
 */
#define WRITTEN_MS	700

static bool test_written_deadline(const struct restore_way *way)
{
	static const struct deadline_test test = { .fires = true };
	struct kvm_clock_data data;
	struct kvmclock_vm vm;
	u64 was[MAX_VCPUS];
	bool ok;

	set_equal();
	guest_writes(&kc, BIT(0), MSR_IA32_TSC_ADJUST);
	get_offsets(&kc, was);
	create_deadline(&vm, way->flags ? 0 : was[0]);
	ok = save(&kc, 0, &data);
	vcpu_args_set(vm.vcpu[0], 3, 0, 3 * WRITTEN_MS * guest_khz(),
		      kvmclock_scale(data.host_tsc, kc.ratio) + was[0] + WRITTEN_MS * guest_khz());

	deadline_run(vm.vcpu[0]);
	ok &= goes_on(&vm, 0, way, data, was);
	deadline_run(vm.vcpu[0]);
	ok &= deadline_is_right(vm.vm, &test);
	kvmclock_vm_destroy(&vm);
	return ok;
}

/* ---- A nested guest ---- */

#define L2_OFFSET	(-(1UL << 42))

/* The guest's, of both levels. */
static u64 level, level_tsc, leave_l2;

static void guest_look(u64 l)
{
	level = l;
	level_tsc = rdtsc();
	GUEST_UCALL_NONE();
}

/* No CPUID here: VMX would exit to L1. */
static void l2_guest(void)
{
	for (;;) {
		while (!READ_ONCE(leave_l2))
			guest_look(2);
		if (host_cpu_is_intel)
			vmcall();
		else
			vmmcall();
	}
}

static void l1_svm(struct svm_test_data *svm)
{
	generic_svm_setup(svm, l2_guest);
	svm->vmcb->control.tsc_offset = L2_OFFSET;
	for (;;) {
		run_guest(svm->vmcb, svm->vmcb_gpa);
		GUEST_ASSERT_EQ(svm->vmcb->control.exit_code, SVM_EXIT_VMMCALL);
		svm->vmcb->save.rip += 3;
		guest_look(1);
	}
}

static void prepare_l2_vmx(struct vmx_pages *vmx, void *l2)
{
	GUEST_ASSERT(prepare_for_vmx_operation(vmx));
	GUEST_ASSERT(load_vmcs(vmx));
	prepare_vmcs(vmx, l2);
}

static void l1_vmx(struct vmx_pages *vmx)
{
	prepare_l2_vmx(vmx, l2_guest);
	vmwrite(CPU_BASED_VM_EXEC_CONTROL, vmreadz(CPU_BASED_VM_EXEC_CONTROL) |
		CPU_BASED_USE_MSR_BITMAPS | CPU_BASED_USE_TSC_OFFSETTING);
	vmwrite(TSC_OFFSET, L2_OFFSET);

	GUEST_ASSERT(!vmlaunch());
	for (;;) {
		GUEST_ASSERT_EQ(vmreadz(VM_EXIT_REASON), EXIT_REASON_VMCALL);
		vmwrite(GUEST_RIP, vmreadz(GUEST_RIP) + vmreadz(VM_EXIT_INSTRUCTION_LEN));
		guest_look(1);
		GUEST_ASSERT(!vmresume());
	}
}

static void l1_guest(void *data)
{
	if (this_cpu_has(X86_FEATURE_SVM))
		l1_svm(data);
	else
		l1_vmx(data);
}

/* Run to the guest's next look, at @want, and compare what its TSC is there. */
static bool nested_look(struct kvmclock_vm *vm, u64 want, const char *what)
{
	u64 offset = kvmclock_get_offset(vm->vcpu[0]) + (want == 2 ? L2_OFFSET : 0), low, high;

	leave_l2 = want == 1;
	sync_global_to_guest(vm->vm, leave_l2);
	low = kvmclock_scale(rdtsc(), vm->ratio) + offset;
	vcpu_run(vm->vcpu[0]);
	high = kvmclock_scale(rdtsc(), vm->ratio) + offset;
	kvmclock_check_exit(vm->vcpu[0]);
	sync_global_from_guest(vm->vm, level);
	sync_global_from_guest(vm->vm, level_tsc);
	return check(level == want, "in L%lu, not L%lu", level, want) &
	       judge(kvmclock_outside(level_tsc, low, high), what, "cycles", 0, 0);
}

static bool nested_looks(struct kvmclock_vm *vm)
{
	/* Stopped in L2, in L1, in L2 again, and moved in each. */
	return nested_look(vm, 2, "nested.l2") && move(vm, FAR) &&
	       nested_look(vm, 2, "nested.l2_moved_in_l2") && move(vm, FAR) &&
	       nested_look(vm, 1, "nested.l1_moved_in_l2") && move(vm, FAR) &&
	       nested_look(vm, 1, "nested.l1_moved_in_l1") && move(vm, -2 * FAR) &&
	       nested_look(vm, 2, "nested.l2_moved_in_l1") && move(vm, -FAR) &&
	       nested_look(vm, 2, "nested.l2_moved_back") &&
	       nested_look(vm, 1, "nested.l1");
}

/* A VM with one vCPU, which runs @l1 with the structures of nested virtualization. */
static void create_nested(struct kvmclock_vm *vm, void *l1)
{
	gva_t data;

	kvmclock_vm_init(vm, kvmclock_modes()[mode].khz, 1);
	kvmclock_vcpu_add(vm);
	kvmclock_opt_in(vm, KVM_CLOCK_GUEST_TSC);
	/* So that there is room to move it back. */
	kvmclock_set_offset(vm->vcpu[0], FAR * 16);
	if (kvm_cpu_has(X86_FEATURE_SVM))
		vcpu_alloc_svm(vm->vm, &data);
	else
		vcpu_alloc_vmx(vm->vm, &data);
	vcpu_arch_set_entry_point(vm->vcpu[0], l1);
	vcpu_args_set(vm->vcpu[0], 1, data);
}

static bool test_nested(void)
{
	struct kvmclock_vm vm;
	bool ok;

	create_nested(&vm, l1_guest);
	ok = nested_looks(&vm);
	kvmclock_vm_destroy(&vm);
	return ok;
}

static const char *no_nested(void)
{
	return kvm_cpu_has(X86_FEATURE_SVM) || kvm_cpu_has(X86_FEATURE_VMX) ? NULL :
	       "no nested virtualization";
}

/* ---- A nested guest's VMX preemption timer ---- */

/* The guest's, of both levels. */
static u64 timer_cycles, timer_deadline, timer_fired_at, l2_halts;

static void l2_timer(void)
{
	for (;;) {
		guest_look(2);
		if (l2_halts)
			asm volatile("hlt");
	}
}

static void l1_timer(struct vmx_pages *vmx)
{
	u64 rate = rdmsr(MSR_IA32_VMX_MISC) & 0x1f, value = timer_cycles >> rate;

	prepare_l2_vmx(vmx, l2_timer);
	vmwrite(PIN_BASED_VM_EXEC_CONTROL, vmreadz(PIN_BASED_VM_EXEC_CONTROL) |
		PIN_BASED_VMX_PREEMPTION_TIMER);
	vmwrite(VMX_PREEMPTION_TIMER_VALUE, value);

	timer_deadline = ((rdtsc() >> rate) + value) << rate;
	GUEST_ASSERT(!vmlaunch());
	timer_fired_at = rdtsc();
	GUEST_ASSERT_EQ(vmreadz(VM_EXIT_REASON), EXIT_REASON_PREEMPTION_TIMER);
	guest_look(1);
}

/*
 * L2 is armed for @arm_ms and the TSC moves by @move_ms: the timer fires in @wait_ms,
 * or it does not before the TSC has been moved back to what it would have been.  20 s
 * fit into its 32 bits at any frequency, and no test takes as long.
 */
static const struct timer_test {
	const char *name;
	s64 arm_ms, move_ms, wait_ms;
	bool fires, halts;
} timer_tests[] = {
	{ "preemption_timer_passed", 20000, 21000, 2000, true },
	{ "preemption_timer_nearer", 20000, 19900, 2000, true },
	{ "preemption_timer_farther", 500, -1000000, 700, false },
	{ "preemption_timer_passed_halted", 20000, 21000, 2000, true, true },
	{ "preemption_timer_farther_halted", 500, -1000000, 700, false, true },
};

static bool alarmed;

static void alarm_handler(int sig)
{
	WRITE_ONCE(alarmed, true);
}

static void set_alarm(s64 ms)
{
	struct itimerval timer = {
		.it_value = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 },
	};

	WRITE_ONCE(alarmed, false);
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Whether L2, where the guest is, is left for L1 within @ms; if halted, it stays in KVM_RUN. */
static bool timer_fires(struct kvmclock_vm *vm, s64 ms)
{
	level = 2;
	set_alarm(ms);
	do {
		if (__vcpu_run(vm->vcpu[0])) {
			TEST_ASSERT(errno == EINTR, KVM_IOCTL_ERROR(KVM_RUN, -1));
			continue;
		}
		kvmclock_check_exit(vm->vcpu[0]);
		sync_global_from_guest(vm->vm, level);
	} while (!READ_ONCE(alarmed) && level == 2);
	set_alarm(0);
	return level == 1;
}

static bool timer_is_right(struct kvmclock_vm *vm)
{
	sync_global_from_guest(vm->vm, timer_deadline);
	sync_global_from_guest(vm->vm, timer_fired_at);
	return check((s64)(timer_fired_at - timer_deadline) >= 0, "fires %ld cycles early",
		     (s64)(timer_deadline - timer_fired_at));
}

static bool test_timer(const struct timer_test *test)
{
	struct kvmclock_vm vm;
	bool ok;

	timer_cycles = test->arm_ms * guest_khz();
	l2_halts = test->halts;
	create_nested(&vm, l1_timer);
	sync_global_to_guest(vm.vm, timer_cycles);
	sync_global_to_guest(vm.vm, l2_halts);

	deadline_run(vm.vcpu[0]);
	ok = move(&vm, test->move_ms * (s64)guest_khz());
	ok = ok && check(timer_fires(&vm, test->wait_ms) == test->fires, "fires: %d", !test->fires);
	if (ok && !test->fires)
		ok = move(&vm, -test->move_ms * (s64)guest_khz()) &&
		     check(timer_fires(&vm, 2000), "does not fire after all");
	ok = ok && timer_is_right(&vm);
	kvmclock_vm_destroy(&vm);
	return ok;
}

static const char *no_timer(void)
{
	return kvm_cpu_has(X86_FEATURE_VMX) ? NULL : "no VMX";
}

/* ---- All cases ---- */

static const struct kvmclock_test tests[] = {
	/* First, while user space has not written a TSC. */
	{ "msr_written_back", test_msr_written_back },
	{ "msr_half_a_second", test_msr_half_a_second },
	{ "msr_zero", test_msr_zero },
	{ "msr_far", test_msr_far },
	{ "offsets", test_offsets },
	{ "created", test_created },
	{ "first_written_back", test_first_written_back },
	{ "tsc_adjust", test_tsc_adjust },
	{ "written_created", test_written_created },
	{ "boot_vcpu", test_boot_vcpu },
	{ "rdtsc", test_rdtsc },
	{ "pages", test_pages },
	{ "pages_differing", test_pages_differing },
	{ "pages_never_run", test_pages_never_run },
	{ "events_after", test_events_after },
	{ "stable_after", test_stable_after },
	{ "nested", test_nested, no_nested },
};

#define NR_TESTS		((int)ARRAY_SIZE(tests))
#define NR_DEADLINE_TESTS	((int)ARRAY_SIZE(deadline_tests))
#define NR_TIMER_TESTS		((int)ARRAY_SIZE(timer_tests))

static void run_timer_test(const struct timer_test *test, const char *mode_name)
{
	const char *why = no_timer();

	if (why)
		ksft_test_result_skip("%s %s: %s\n", test->name, mode_name, why);
	else
		ksft_test_result(test_timer(test), "%s %s\n", test->name, mode_name);
}

/* Two VMs of one guest. */
static void run_written_tests(const char *mode_name)
{
	u32 khz = kvmclock_modes()[mode].khz;
	int w;

	kvmclock_vm_create(&kc, khz, NR_VCPUS, NR_VCPUS);
	kvmclock_vm_create(&dst, khz, NR_VCPUS, NR_VCPUS);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	kvmclock_opt_in(&dst, KVM_CLOCK_GUEST_TSC);
	for (w = 0; w < NR_RESTORE_WAYS; w++) {
		ksft_test_result(test_written(&restore_ways[w]), "written_%s %s\n",
				 restore_ways[w].name, mode_name);
		ksft_test_result(test_written_deadline(&restore_ways[w]),
				 "written_deadline_%s %s\n", restore_ways[w].name, mode_name);
	}
	kvmclock_vm_destroy(&dst);
	kvmclock_vm_destroy(&kc);
}

static void run_mode(void)
{
	const char *name = kvmclock_modes()[mode].name;
	int t;

	kvmclock_vm_create(&kc, kvmclock_modes()[mode].khz, NR_VCPUS, MAX_VCPUS);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	for (t = 0; t < NR_TESTS; t++)
		kvmclock_run_test(&tests[t], 0, name);
	kvmclock_vm_destroy(&kc);
	run_written_tests(name);

	for (t = 0; t < NR_DEADLINE_TESTS; t++)
		ksft_test_result(test_deadline(&deadline_tests[t]), "%s %s\n",
				 deadline_tests[t].name, name);
	for (t = 0; t < NR_TIMER_TESTS; t++)
		run_timer_test(&timer_tests[t], name);
}

int main(void)
{
	TEST_REQUIRE(kvmclock_knows(KVM_CLOCK_GUEST_TSC));
	kvmclock_start(0, NR_TESTS + 2 * NR_RESTORE_WAYS + NR_DEADLINE_TESTS + NR_TIMER_TESTS);
	signal(SIGALRM, alarm_handler);
	for (mode = -1; kvmclock_next_mode(&mode);)
		run_mode();
	kvmclock_finished();
}
