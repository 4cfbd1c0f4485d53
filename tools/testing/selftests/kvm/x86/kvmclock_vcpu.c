// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify the vCPU's own interface to the clock: KVM_GET_CLOCK_GUEST,
 * KVM_SET_CLOCK_GUEST and KVM_VCPU_TSC_SCALE.
 *
 * The line that they get and set is in terms of that vCPU's TSC, and the VM's TSCs
 * have different offsets here.  Lines are compared with those of the guest's pages,
 * and a call that fails has changed nothing.
 */
#include <sys/mman.h>

#include "kvmclock.h"

#define NR_VCPUS	3
#define AHEAD		123456789UL

static struct kvmclock_vm kc;
static int mode;

static int get_line(struct kvmclock_vm *vm, int i, struct pvclock_vcpu_time_info *line)
{
	memset(line, 0xff, sizeof(*line));
	return ioctl(vm->vcpu[i]->fd, KVM_GET_CLOCK_GUEST, line) ? errno : 0;
}

static int set_line(struct kvmclock_vm *vm, int i, const struct pvclock_vcpu_time_info *line)
{
	return ioctl(vm->vcpu[i]->fd, KVM_SET_CLOCK_GUEST, line) ? errno : 0;
}

static struct pvclock_vcpu_time_info line_of(int i)
{
	struct pvclock_vcpu_time_info line;
	int err = get_line(&kc, i, &line);

	TEST_ASSERT(!err, "KVM_GET_CLOCK_GUEST of vCPU %d, errno %d", i, err);
	return line;
}

/* vCPU 1 is ahead of the others. */
static void set_offsets(struct kvmclock_vm *vm, u64 offset)
{
	int i;

	for (i = vm->nr_vcpus - 1; i >= 0; i--)
		kvmclock_set_offset(vm->vcpu[i], offset + (i == 1 ? AHEAD : 0));
	kvmclock_settle(vm);
}

static bool is_page(const struct pvclock_vcpu_time_info *line,
		    const struct pvclock_vcpu_time_info *page)
{
	return check(line->tsc_timestamp == page->tsc_timestamp, "%lu, not %lu",
		     (u64)line->tsc_timestamp, (u64)page->tsc_timestamp) &&
	       check(line->system_time == page->system_time, "%lu, not %lu",
		     (u64)line->system_time, (u64)page->system_time) &&
	       check(line->tsc_to_system_mul == page->tsc_to_system_mul, "mul %u",
		     line->tsc_to_system_mul) &&
	       check(line->tsc_shift == page->tsc_shift, "shift %d", line->tsc_shift) &&
	       check(line->flags == page->flags, "flags 0x%x, not 0x%x", line->flags,
		     page->flags) &&
	       check(!line->version && !line->pad0 && !line->pad[0] && !line->pad[1],
		     "version or padding");
}

/* ---- What there is ---- */

static bool test_numbers(void)
{
	return check(KVM_SET_CLOCK_GUEST == 0x4020aed6, "0x%lx", (long)KVM_SET_CLOCK_GUEST) &&
	       check(KVM_GET_CLOCK_GUEST == 0x8020aed7, "0x%lx", (long)KVM_GET_CLOCK_GUEST) &&
	       check(sizeof(struct pvclock_vcpu_time_info) == 32, "size") &&
	       check(sizeof(struct kvm_vcpu_tsc_scale) == 16, "size") &&
	       check(KVM_VCPU_TSC_SCALE == 1, "%d", KVM_VCPU_TSC_SCALE);
}

static bool test_capability(void)
{
	return check(kvm_check_cap(KVM_CAP_CLOCK_GUEST) == 1, "system") &&
	       check(vm_check_cap(kc.vm, KVM_CAP_CLOCK_GUEST) == 1, "VM");
}

/* ---- KVM_GET_CLOCK_GUEST ---- */

static bool test_get_page(void)
{
	bool ok = true;
	int i;

	kvmclock_settle(&kc);
	for (i = 0; i < NR_VCPUS; i++) {
		struct pvclock_vcpu_time_info line = line_of(i);

		ok &= check(is_page(&line, kc.page[i]), "vCPU %d", i) &
		      check(!(line.flags & PVCLOCK_TSC_STABLE_BIT), "stable");
	}
	return ok;
}

/* All vCPUs compute the same, at each instant. */
static bool test_get_agrees(void)
{
	struct pvclock_vcpu_time_info first = line_of(0), line;
	u64 host_tsc = rdtsc();
	struct kvmclock_shot shot;
	bool ok = true;
	s64 diff;
	int i;

	kvmclock_shoot(&kc, &shot);
	for (i = 1; i < NR_VCPUS; i++) {
		line = line_of(i);
		diff = kvmclock_line_at(&line, kvmclock_tsc_at(&shot, i, host_tsc)) -
		       kvmclock_line_at(&first, kvmclock_tsc_at(&shot, 0, host_tsc));
		ok &= check(!diff, "vCPU %d: %ld ns", i, diff) &
		      check(line.tsc_to_system_mul == first.tsc_to_system_mul &&
			    line.tsc_shift == first.tsc_shift, "another rate");
	}
	return ok;
}

/* With equal offsets, one vCPU may read the line of another. */
static bool test_get_stable(void)
{
	u64 offset = kvmclock_get_offset(kc.vcpu[0]);
	struct pvclock_vcpu_time_info line, other;
	bool ok;

	kvmclock_set_offset(kc.vcpu[1], offset);
	kvmclock_settle(&kc);
	line = line_of(0);
	other = line_of(1);
	ok = check(line.flags == PVCLOCK_TSC_STABLE_BIT, "flags 0x%x", line.flags) &&
	     is_page(&line, kc.page[0]) &&
	     check(!memcmp(&line, &other, sizeof(line)), "vCPU 1 has another line");
	set_offsets(&kc, offset);
	return ok;
}

/* The instant is not of interest: the clock before and after is. */
static bool test_get_clock(void)
{
	struct kvm_clock_data before, after;
	struct pvclock_vcpu_time_info line;
	u64 offset = kvmclock_get_offset(kc.vcpu[1]);
	s64 first, last;

	before = kvmclock_get(&kc);
	line = line_of(1);
	after = kvmclock_get(&kc);
	first = kvmclock_line_at(&line, kvmclock_scale(before.host_tsc, kc.ratio) + offset) -
		before.clock;
	last = kvmclock_line_at(&line, kvmclock_scale(after.host_tsc, kc.ratio) + offset) -
	       after.clock;
	return check(!first && !last, "off by %ld and %ld ns", first, last);
}

/* A vCPU that never ran, and whose guest has no kvmclock, has the line that it will have. */
static bool test_get_first(void)
{
	struct pvclock_vcpu_time_info line;
	struct kvmclock_vm fresh;
	bool ok;
	int err;

	kvmclock_vm_init(&fresh, kvmclock_modes()[mode].khz, 1);
	kvmclock_vcpu_add(&fresh);
	err = get_line(&fresh, 0, &line);
	kvmclock_enable(&fresh, 0, 0);
	kvmclock_settle(&fresh);
	ok = check(!err, "errno %d", err) && is_page(&line, fresh.page[0]);
	kvmclock_vm_destroy(&fresh);
	return ok;
}

/* ---- KVM_SET_CLOCK_GUEST ---- */

static bool fails(int i, const struct pvclock_vcpu_time_info *line, int want)
{
	struct kvmclock_state before;
	int err;

	kvmclock_get_state(&kc, &before);
	err = set_line(&kc, i, line);
	return check(err == want, "errno %d, not %d", err, want) & kvmclock_is_state(&kc, &before);
}

/* What GET returns is the present line, and setting that changes nothing. */
static bool test_set_get(void)
{
	bool ok = true;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		struct pvclock_vcpu_time_info line = line_of(i);

		ok &= fails(i, &line, 0);
	}
	return ok;
}

/* Another line, in terms of @i's TSC, is that of all vCPUs; no TSC moves. */
static bool sets_line(int i, struct pvclock_vcpu_time_info line)
{
	struct kvmclock_shot before, after;
	u64 host_tsc;
	bool ok = true;
	s64 diff;
	int err, k;

	kvmclock_shoot(&kc, &before);
	err = set_line(&kc, i, &line);
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &after);
	host_tsc = rdtsc();
	for (k = 0; k < NR_VCPUS; k++) {
		diff = kvmclock_at(&after, k, host_tsc) -
		       kvmclock_line_at(&line, kvmclock_tsc_at(&after, i, host_tsc));
		ok &= check(!diff, "vCPU %d: off by %ld ns", k, diff) &
		      check(before.offset[k] == after.offset[k], "vCPU %d: TSC moved", k);
	}
	return check(!err, "errno %d", err) && ok;
}

static bool test_set(void)
{
	bool ok = true;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		struct pvclock_vcpu_time_info line = line_of(i);

		line.system_time += 1234567890 + i;
		ok &= sets_line(i, line);
		line.system_time -= 999;
		ok &= sets_line(i, line);
	}
	return ok;
}

/* Version and flags are a page's, and say nothing here. */
static bool test_set_page(void)
{
	struct pvclock_vcpu_time_info line;

	kvmclock_settle(&kc);
	kvmclock_snapshot(kc.page[1], &line);
	line.version = -3;
	line.flags = -1;
	line.system_time += 5555;
	return sets_line(1, line);
}

/* A VM that does not go back does not by this either. */
static bool test_set_monotonic(void)
{
	struct pvclock_vcpu_time_info line = line_of(0);
	struct kvmclock_shot before, after;
	s64 step;
	int err;

	line.system_time -= NSEC_PER_SEC;
	kvmclock_opt_in(&kc, KVM_CLOCK_MONOTONIC);
	kvmclock_shoot(&kc, &before);
	err = set_line(&kc, 0, &line);
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &after);
	kvmclock_opt_in(&kc, 0);
	step = kvmclock_step(&before, &after, 0, rdtsc());
	return check(!err, "errno %d", err) && check(!step, "stepped by %ld ns", step);
}

/* ---- Errors ---- */

static bool test_efault(void)
{
	size_t page = getpagesize(), size = sizeof(struct pvclock_vcpu_time_info);
	struct pvclock_vcpu_time_info bad = { .pad0 = 1 };
	struct kvmclock_state before;
	int err_get, err_set;
	void *at;

	at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(at != MAP_FAILED, "mmap() failed");
	munmap(at + page, page);

	memcpy(at + page - size + 1, &bad, size - 1);
	kvmclock_get_state(&kc, &before);
	err_set = set_line(&kc, 0, at + page - size + 1);
	err_get = ioctl(kc.vcpu[0]->fd, KVM_GET_CLOCK_GUEST, at + page - size + 1) ? errno : 0;
	munmap(at, page);
	return check(err_set == EFAULT && err_get == EFAULT, "errno %d, %d", err_set, err_get) &
	       kvmclock_is_state(&kc, &before);
}

/* Each way to spoil a line, and in what order errors are looked for. */
static void spoil(struct pvclock_vcpu_time_info *line, int row)
{
	switch (row) {
	case 0:
		line->pad0 = 1;
		break;
	case 1:
		line->pad[0] = 1;
		break;
	case 2:
		line->pad[1] = 0x80;
		break;
	case 3:
		line->tsc_to_system_mul = 0;
		break;
	case 4:
		line->tsc_shift = 32;
		break;
	case 5:
		line->tsc_shift = -32;
		break;
	case 6:
		line->tsc_shift = -128;
		break;
	}
}

#define NR_SPOILS	7

static bool test_einval(void)
{
	bool ok = true;
	int row, i;

	for (row = 0; row < NR_SPOILS; row++) {
		for (i = 0; i < 2; i++) {
			struct pvclock_vcpu_time_info line = line_of(i);

			spoil(&line, row);
			ok &= check(fails(i, &line, EINVAL), "row %d", row);
		}
	}
	return ok;
}

/* EINVAL of the structure comes first, then ENODATA, whatever else is wrong. */
static bool test_enodata(void)
{
	struct pvclock_vcpu_time_info line = line_of(0), got, bad;
	int row, err_get, err_set;
	bool ok;

	kvmclock_set_master(&kc, false);
	err_get = get_line(&kc, 0, &got);
	err_set = set_line(&kc, 0, &line);
	ok = check(err_get == ENODATA && err_set == ENODATA, "errno %d, %d", err_get, err_set);
	for (row = 0; row < NR_SPOILS; row++) {
		bad = line;
		spoil(&bad, row);
		err_set = set_line(&kc, 0, &bad);
		ok &= check(err_set == EINVAL, "row %d: errno %d", row, err_set);
	}
	bad = line;
	bad.tsc_to_system_mul /= 3;
	bad.tsc_timestamp = -1UL;
	err_set = set_line(&kc, 0, &bad);
	ok &= check(err_set == ENODATA, "errno %d", err_set);
	kvmclock_set_master(&kc, true);
	return ok & check(!get_line(&kc, 0, &got), "no line again");
}

/* Whose frequencies differ have no line in common. */
static bool test_enodata_khz(void)
{
	struct pvclock_vcpu_time_info line = line_of(0), got;
	u32 khz = kvmclock_modes()[mode].khz;
	int err_get, err_set;

	khz = khz ? khz : kvmclock_host_khz();
	vcpu_ioctl(kc.vcpu[1], KVM_SET_TSC_KHZ, (void *)(unsigned long)(khz / 2));
	err_get = get_line(&kc, 0, &got);
	err_set = set_line(&kc, 0, &line);
	vcpu_ioctl(kc.vcpu[1], KVM_SET_TSC_KHZ, (void *)(unsigned long)khz);
	kvmclock_settle(&kc);
	return check(err_get == ENODATA && err_set == ENODATA, "errno %d, %d", err_get, err_set) &
	       check(!get_line(&kc, 0, &got), "no line again");
}

/* Wait until KVM_GET_CLOCK_GUEST ends with @want, while nothing else looks at the clock. */
static bool wait_for_line(int want)
{
	struct pvclock_vcpu_time_info got;
	int i;

	for (i = 0; i < 1000; i++) {
		if (get_line(&kc, 0, &got) == want)
			return true;
		usleep(10000);
	}
	return false;
}

/* No vCPU runs: the ioctl itself finds that the clocksource has changed. */
static bool test_enodata_clocksource(void)
{
	bool left, back;

	TEST_ASSERT(kvmclock_set_clocksource(kvmclock_other_clocksource()), "Cannot switch");
	left = wait_for_line(ENODATA);
	TEST_ASSERT(kvmclock_set_clocksource("tsc"), "Cannot switch to tsc");
	back = wait_for_line(0);
	kvmclock_settle(&kc);
	return check(left, "a line without the TSC") & check(back, "no line again");
}

static bool test_erange(void)
{
	static const int ppms[] = { 300, -300, 100000, -500000 };
	struct pvclock_vcpu_time_info line;
	bool ok = true;
	int i;

	for (i = 0; i < ARRAY_SIZE(ppms); i++) {
		line = line_of(1);
		line.tsc_to_system_mul += (s64)line.tsc_to_system_mul * ppms[i] / 1000000;
		ok &= check(fails(1, &line, ERANGE), "%d ppm", ppms[i]);
		/* It comes before the TSC is looked at. */
		line.tsc_timestamp = -1UL;
		ok &= check(fails(1, &line, ERANGE), "%d ppm", ppms[i]);
	}
	return ok;
}

/* Two ordinary hosts are further apart than 1 kHz. */
static bool test_frequency_near(void)
{
	struct pvclock_vcpu_time_info line = line_of(1);
	int err;

	line.tsc_to_system_mul += (s64)line.tsc_to_system_mul * 200 / 1000000;
	err = set_line(&kc, 1, &line);
	kvmclock_settle(&kc);
	return check(!err, "errno %d", err);
}

/* The TSC of this very vCPU must have passed the line's, unsigned. */
static bool test_tsc_below(void)
{
	u64 tsc = kvmclock_scale(rdtsc(), kc.ratio) + kvmclock_get_offset(kc.vcpu[0]);
	struct pvclock_vcpu_time_info line = line_of(0);
	bool ok;

	line.tsc_timestamp = tsc + (1UL << 50);
	ok = fails(0, &line, EINVAL);
	line.tsc_timestamp = -1UL;
	return ok & fails(0, &line, EINVAL);
}

/* What vCPU 1's TSC has passed is ahead of vCPU 0's. */
static bool test_tsc_of_vcpu(void)
{
	u64 offset = kvmclock_get_offset(kc.vcpu[0]);
	struct pvclock_vcpu_time_info line;
	bool ok;

	kvmclock_set_offset(kc.vcpu[1], offset + (1UL << 50));
	kvmclock_settle(&kc);
	line = line_of(1);
	line.tsc_timestamp = kvmclock_scale(rdtsc(), kc.ratio) + offset + (1UL << 49);
	ok = fails(0, &line, EINVAL) & sets_line(1, line);
	set_offsets(&kc, offset);
	kvmclock_set(&kc, 1000 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&kc);
	return ok;
}

/* Half a turn of the TSC and more is behind, for all who compute with the line. */
static bool test_tsc_far(void)
{
	u64 offset = kvmclock_get_offset(kc.vcpu[0]);
	struct pvclock_vcpu_time_info line;
	bool ok;

	kvmclock_set_offset(kc.vcpu[1], offset + BIT(63));
	kvmclock_settle(&kc);
	line = line_of(1);
	line.tsc_timestamp = 1;
	line.system_time = 1000 * NSEC_PER_SEC;
	ok = fails(1, &line, ERANGE);
	set_offsets(&kc, offset);
	kvmclock_set(&kc, 1000 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&kc);
	return ok;
}

static bool test_clock_too_large(void)
{
	struct pvclock_vcpu_time_info line = line_of(0);

	line.system_time = BIT(63);
	return fails(0, &line, ERANGE);
}

/* ---- KVM_VCPU_TSC_SCALE ---- */

static int scale_attr(int request, void *at)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_SCALE,
		.addr = (u64)at,
	};

	return ioctl(kc.vcpu[0]->fd, request, &attr) ? errno : 0;
}

static bool test_scale(void)
{
	struct kvm_vcpu_tsc_scale scale;
	int err_has, err_get, err_set, err_fault;
	u64 khz, want;
	bool there = kvmclock_can_scale();

	memset(&scale, 0xff, sizeof(scale));
	err_has = scale_attr(KVM_HAS_DEVICE_ATTR, NULL);
	err_get = scale_attr(KVM_GET_DEVICE_ATTR, &scale);
	err_set = scale_attr(KVM_SET_DEVICE_ATTR, &scale);
	err_fault = scale_attr(KVM_GET_DEVICE_ATTR, (void *)1);
	if (!there)
		return check(err_has == ENXIO && err_get == ENXIO && err_set == ENXIO &&
			     err_fault == ENXIO, "errno %d, %d, %d, %d", err_has, err_get, err_set,
			     err_fault);

	want = __vcpu_ioctl(kc.vcpu[0], KVM_GET_TSC_KHZ, NULL);
	khz = kvmclock_mul_shr(kvmclock_host_khz(), scale.tsc_ratio, scale.tsc_frac_bits);
	return check(!err_has && !err_get, "errno %d, %d", err_has, err_get) &&
	       check(err_set == EINVAL && err_fault == EFAULT, "errno %d, %d", err_set,
		     err_fault) &&
	       check(scale.tsc_ratio == kc.ratio, "ratio") &&
	       check(scale.tsc_frac_bits == kvmclock_frac_bits(), "bits") &&
	       check(labs((s64)(khz - want)) <= 1, "%lu kHz, not %lu", khz, want);
}

/* ---- From one VM to another ---- */

static u64 ratio_of(struct kvmclock_vm *vm, int i)
{
	struct kvm_vcpu_tsc_scale scale = { .tsc_ratio = 1ULL << kvmclock_frac_bits() };

	if (kvmclock_can_scale())
		vcpu_device_attr_get(vm->vcpu[i], KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_SCALE, &scale);
	return scale.tsc_ratio;
}

/*
 * As a VMM migrates by this interface, here on one host: TSCs by the ratio and the
 * offset, the clock by the line of one vCPU.  What the guest reads goes on.
 */
static bool test_migrate(void)
{
	struct pvclock_vcpu_time_info line = line_of(1);
	u64 then = kvmclock_get(&kc).host_tsc, tsc[NR_VCPUS], host_tsc;
	struct kvmclock_shot before, after;
	struct kvmclock_vm dst;
	bool ok = true;
	s64 step;
	int err, i;

	for (i = 0; i < NR_VCPUS; i++)
		tsc[i] = kvmclock_scale(then, ratio_of(&kc, i)) + kvmclock_get_offset(kc.vcpu[i]);
	kvmclock_shoot(&kc, &before);

	kvmclock_vm_create(&dst, kvmclock_modes()[mode].khz, NR_VCPUS, NR_VCPUS);
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_set_offset(dst.vcpu[i], tsc[i] - kvmclock_scale(then, ratio_of(&dst, i)));
	err = set_line(&dst, 1, &line);
	kvmclock_settle(&dst);
	kvmclock_shoot(&dst, &after);
	host_tsc = rdtsc();
	for (i = 0; i < NR_VCPUS; i++) {
		step = kvmclock_step(&before, &after, i, host_tsc);
		ok &= check(!step, "vCPU %d: %ld ns", i, step) &
		      check(before.offset[i] == after.offset[i], "vCPU %d: TSC", i);
	}
	kvmclock_vm_destroy(&dst);
	return check(!err, "errno %d", err) && ok;
}

static const char *no_scaling(void)
{
	return kvmclock_can_scale() ? NULL : "this host cannot scale a guest's TSC";
}

static const struct kvmclock_test tests[] = {
	{ "numbers", test_numbers },
	{ "capability", test_capability },
	{ "get_page", test_get_page },
	{ "get_agrees", test_get_agrees },
	{ "get_stable", test_get_stable },
	{ "get_clock", test_get_clock },
	{ "get_first", test_get_first },
	{ "set_get", test_set_get },
	{ "set", test_set },
	{ "set_page", test_set_page },
	{ "set_monotonic", test_set_monotonic },
	{ "efault", test_efault },
	{ "einval", test_einval },
	{ "enodata", test_enodata },
	{ "enodata_khz", test_enodata_khz, no_scaling },
	{ "enodata_clocksource", test_enodata_clocksource, kvmclock_no_clocksource },
	{ "erange", test_erange },
	{ "frequency_near", test_frequency_near },
	{ "tsc_below", test_tsc_below },
	{ "tsc_of_vcpu", test_tsc_of_vcpu },
	{ "tsc_far", test_tsc_far },
	{ "clock_too_large", test_clock_too_large },
	{ "scale", test_scale },
	{ "migrate", test_migrate },
};

int main(void)
{
	int i;

	TEST_REQUIRE(kvm_check_cap(KVM_CAP_CLOCK_GUEST));
	kvmclock_start(0, ARRAY_SIZE(tests));
	/* In host clock mode, a vCPU that moves to another CPU gets another line. */
	pin_self_to_cpu(0);
	for (mode = -1; kvmclock_next_mode(&mode);) {
		kvmclock_vm_create(&kc, kvmclock_modes()[mode].khz, NR_VCPUS, NR_VCPUS);
		set_offsets(&kc, 1UL << 52);
		kvmclock_set(&kc, 1000 * NSEC_PER_SEC, 0, 0);
		kvmclock_settle(&kc);
		for (i = 0; i < ARRAY_SIZE(tests); i++)
			kvmclock_run_test(&tests[i], 0, kvmclock_modes()[mode].name);
		kvmclock_vm_destroy(&kc);
	}
	kvmclock_finished();
}
